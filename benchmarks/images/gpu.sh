#!/usr/bin/env bash
# Everything that needs a CUDA device, in one call of under ten minutes: the gpu tests, the step
# time beside the published network, 512x512 with the default recipe, and the published recipe's
# first steps for its seconds to quality. Records go to benchmarks/results.
#
#     bash benchmarks/images/gpu.sh IMAGE_512x512 [SECONDS_FOR_THE_PUBLISHED_RECIPE]
set -uo pipefail
cd "$(dirname "$0")/../.."
image=${1:?an image of 512x512 is needed}
budget=${2:-300}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1

python3 -m pytest -q -m gpu tests/promises/test_gpu_denoise.py
python3 -m benchmarks.images.step_time --side 512 --width 128 --steps 50 --device cuda
python3 -m benchmarks.images.step_time --side 512 --width 64 --steps 50 --device cuda
python3 -m benchmarks.images.quality run "$image" --side 512 --device cuda --seeds 0 1 2
timeout "$budget" python3 -m benchmarks.images.seconds_to_quality "$image" --recipe paper --device cuda
python3 -m benchmarks.images.seconds_to_quality "$image" --recipe default --device cuda
python3 -m benchmarks.images.quality table --side 512
