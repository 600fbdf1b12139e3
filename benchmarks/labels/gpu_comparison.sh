#!/usr/bin/env bash
# The comparison of all methods on the whole of CIFAR-10 on a GPU: 50 % symmetric, recipe `fast`.
#
#     benchmarks/labels/gpu_comparison.sh cifar10.npz OUT [SECONDS]
#
# Stops itself after SECONDS (540 by default) and goes on where it was when called again; the table of
# what is finished is printed last. The first call also measures the cost of an epoch.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$(realpath "$1") out=$2 seconds=${3:-540}
begin=$SECONDS

if [ ! -e benchmarks/results/method_cost_cuda.json ]; then
    python benchmarks/labels/method_cost.py --data "$data" --limit 50000 --rounds 2 --recipe fast --device cuda
fi
left=$((seconds - SECONDS + begin))
# SIGINT, as by Ctrl-C: what is done is kept. 124 is timeout's word that the time was up.
timeout --signal=INT "$left" python cli.py compare-methods --out "$out" --data "$data" \
    --noise 0.5 --budget fast --device cuda || [ $? -eq 124 ]
python cli.py compare-methods --out "$out" --table
