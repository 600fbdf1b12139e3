#!/usr/bin/env bash
# Everything about label noise that needs a CUDA device. One part a call, each under nine minutes;
# a part that did not finish goes on where it was when called again. Records go to
# benchmarks/results/labels/accuracy.jsonl.
#
#     bash benchmarks/labels/gpu_cifar.sh CIFAR10.npz PART      # PART: speed, fast, worst, paper, plus
set -uo pipefail
cd "$(dirname "$0")/../.."
data=${1:?an .npz of CIFAR-10 is needed}
part=${2:?a part is needed: speed, fast, worst, paper or plus}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
status=0
run() { timeout 530 python3 -m benchmarks.labels.accuracy run --data "$data" --device cuda "$@" || status=$?; }

case $part in
speed)
    timeout 240 python3 -m pytest -q -m gpu || status=$?
    timeout 60 python3 -m benchmarks.labels.sop_step --device cuda || status=$?
    for network in fast preact-resnet18; do
        timeout 110 python3 -m benchmarks.labels.throughput --data "$data" --device cuda \
            --network "$network" --batches 100 || status=$?
    done
    ;;
fast) run --recipe fast --noise 0.2 0.4 --methods ce sop --seeds 0 1 ;;
worst) run --recipe fast --noise worst --methods ce sop sop+ --seeds 0 1 ;;
paper) run --recipe paper --compile --noise 0.2 0.4 0.6 --methods sop ;;
plus) run --recipe paper --compile --noise 0.2 --methods sop+ ;;
*) echo "no part '$part'" >&2; exit 2 ;;
esac
python3 -m benchmarks.labels.accuracy table | tail -n 12
exit $status
