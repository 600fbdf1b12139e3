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

if [ ! -d "$out" ]; then
    python3 -m benchmarks.labels.method_cost --data "$data" --limit 50000 --rounds 2 --recipe fast --device cuda
fi
left=$((seconds - SECONDS + begin))
# SIGINT, as by Ctrl-C: what is done is kept and recorded. 124 is timeout's status when time is up.
timeout --signal=INT "$left" python3 -m benchmarks.labels.method_comparison "$out" --data "$data" \
    --noise 0.5 --budget fast --device cuda || [ $? -eq 124 ]
python3 -m benchmarks.tables labels/comparison
