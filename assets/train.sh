#!/usr/bin/env bash
# Everything under assets/ again: example photos, and the models that ship.
#   bash assets/train.sh                          the synthetic parts
#   bash assets/train.sh DIR bottle screw         categories of a folder in MVTec AD layout as well
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}

train() {  # data category
  "$PYTHON" training/train.py --data "$1" --category "$2" --output_dir "runs/$2" --checkpoint_every 0
  mkdir -p "assets/models/$2"
  cp "runs/$2"/{config.json,model.safetensors,preprocessor_config.json,recipe.yaml} \
    "runs/$2"/{README.md,learning_curve.csv,learning_curve.png} "assets/models/$2/"
}

for part in flange_nut key fabric; do
  "$PYTHON" -m training.synthetic "$part" --photos "assets/examples/$part"
  train "synthetic:$part" "$part"
done

if (($# > 1)); then
  for category in "${@:2}"; do
    train "$1" "$category"
  done
fi
