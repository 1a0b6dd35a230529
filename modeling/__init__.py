"""Everything a saved model needs; importing it registers the models with transformers.

Afterwards `AutoModel.from_pretrained`, `AutoImageProcessor.from_pretrained` and
`pipeline("anomaly-detection", model=...)` take a model folder or a Hub id of this project.
"""
# ruff: noqa: F401 (what is imported here is what the package offers)

from transformers import AutoConfig, AutoImageProcessor, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from .autoencoder import Autoencoder
from .calibration import THRESHOLD, Calibration
from .configuration import (
    AutoencoderConfig,
    MaskedAutoencoderConfig,
    ReconstructionConfig,
    VariationalAutoencoderConfig,
)
from .image_processing import InspectionImageProcessor, PhotoError, open_photo
from .loading import ModelLoadError, load_model
from .masked_autoencoder import MaskedAutoencoder
from .output import ReconstructionOutput
from .pipeline import TASK, Inspection, InspectionPipeline, Judgement, judge, load_pipeline
from .rates import Rate, rate
from .reconstruction import ReconstructionModel
from .record import CHECK, ERROR, FAIL, PASS, InspectionRecord, verdict_of
from .regions import Finding, Region
from .variational_autoencoder import VariationalAutoencoder
from .weights import WeightsError

ARCHITECTURES: dict[str, type[ReconstructionModel]] = {
    "autoencoder": Autoencoder,
    "variational-autoencoder": VariationalAutoencoder,
    "masked-autoencoder": MaskedAutoencoder,
}

for _model in ARCHITECTURES.values():
    AutoConfig.register(_model.config_class.model_type, _model.config_class)
    AutoModel.register(_model.config_class, _model)
    AutoImageProcessor.register(
        _model.config_class, image_processor_classes={"pil": InspectionImageProcessor}
    )
PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=InspectionPipeline, pt_model=AutoModel, type="image"
)
