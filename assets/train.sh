#!/usr/bin/env bash
# Everything under assets/ again: example photos, and the models that ship.
#   bash assets/train.sh                          the synthetic parts
#   bash assets/train.sh DIR bottle screw         categories of a folder in MVTec AD layout as well
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}

train() {  # data category flags
  local run="runs/$2" shipped="assets/models/$2"
  "$PYTHON" training/train.py --data "$1" --category "$2" --output_dir "$run" --checkpoint_every 0 \
    "${@:3}"
  "$PYTHON" evaluation/evaluate.py --model "$run" --data "$1" --category "$2" \
    --output_dir "$run/evaluation"
  "$PYTHON" -m publishing.model_card "$run"
  mkdir -p "$shipped/evaluation"
  cp "$run"/{config.json,model.safetensors,preprocessor_config.json,recipe.yaml,training.json} \
    "$run"/{README.md,learning_curve.csv,learning_curve.png} "$shipped/"
  if [[ -f $run/part.png ]]; then
    cp "$run/part.png" "$shipped/"
  fi
  cp "$run/evaluation"/{metrics.json,roc.png,calibration.png,scores.png} "$shipped/evaluation/"
  # Photos of MVTec AD are never part of this project; drawings of ours may be.
  if [[ $1 == synthetic:* ]]; then
    cp "$run/evaluation/examples.jpg" "$shipped/evaluation/"
  fi
}

for part in flange_nut key fabric; do
  "$PYTHON" -m data.synthetic "$part" --photos "assets/examples/$part"
  # The body alone: see docs/figures.md, "The models that ship".
  train "synthetic:$part" "$part" --no-whole_part --judge all
done

if (($# > 1)); then
  for category in "${@:2}"; do
    train "$1" "$category"
  done
fi
