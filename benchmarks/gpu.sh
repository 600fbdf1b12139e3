#!/usr/bin/env bash
# Everything that needs a CUDA device, in one call of under ten minutes: the gpu tests, the step
# time beside the published network, 512x512 with the default recipe, and the published recipe's
# first steps for its seconds to quality. Records go to benchmarks/results.
#
#     bash benchmarks/gpu.sh IMAGE_512x512 [SECONDS_FOR_THE_PUBLISHED_RECIPE]
set -uo pipefail
cd "$(dirname "$0")/.."
image=${1:?an image of 512x512 is needed}
budget=${2:-300}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1

python3 -m pytest -q -m gpu tests/test_gpu.py
python3 benchmarks/step_time.py --side 512 --width 128 --steps 50 --device cuda
python3 benchmarks/step_time.py --side 512 --width 64 --steps 50 --device cuda
python3 benchmarks/denoise.py run "$image" --side 512 --device cuda --seeds 0 1 2
timeout "$budget" python3 benchmarks/seconds_to_quality.py "$image" --recipe paper --device cuda
python3 benchmarks/seconds_to_quality.py "$image" --recipe default --device cuda
python3 benchmarks/denoise.py table | tail -n 4
