#!/usr/bin/env bash
# Everything that needs a CUDA device: tests, then step times, then training. Run it again to resume.
#     benchmarks/on_a_gpu.sh OUTPUT [FOLDER WITH kvae/ AND mnist/]
set -uo pipefail
output=${1:?folder for logs, tables and runs}
data=${2:-data}
cd "$(dirname "$0")/.."
mkdir -p "$output"
once() { # NAME COMMAND...: skipped if it has succeeded before; a failure does not stop the rest
    local name=$1; shift
    [ -e "$output/$name.done" ] && return
    echo "+ $*"
    "$@" > "$output/$name.log" 2>&1 && touch "$output/$name.done" || echo "failed: see $output/$name.log"
}
once checks python -m pytest -n 0 -m gpu -q
once steps python benchmarks/svi_step.py --device cuda --variants pyro off trace inductor cudagraph \
    --data "$data/mnist" --output "$output/svi_step_cuda.json"
for precision in float32 bfloat16; do
    once "kvae-$precision" python -m inference.cli train kvae-box --data "$data/kvae" --device cuda --compile cudagraph \
        --precision "$precision" --run "$output/kvae-box-$precision" --quiet
    once "kvae-$precision-evaluation" python -m inference.cli evaluate "$output/kvae-box-$precision" --device cuda
done
once presence python benchmarks/presence_estimators.py --recipe air --minutes 4 --device cuda --compile cudagraph \
    --data "$data/mnist" --output "$output/presence"
once cannonballs timeout 1800 python -m inference.cli train cannonballs --device cuda --compile cudagraph \
    --run "$output/cannonballs" --quiet
once cannonballs-evaluation python -m inference.cli evaluate "$output/cannonballs" --device cuda
for size in mlp conv; do # each call trains ten minutes more and evaluates again
    [ -e "$output/sqair-$size.done" ] || rm -f "$output/sqair-$size-evaluation.done"
    once "sqair-$size" timeout 600 python -m inference.cli train "sqair-$size" --data "$data/mnist" --optimization adam \
        --learning-rate 0.0001 --device cuda --compile cudagraph --run "$output/sqair-$size" --quiet
    once "sqair-$size-evaluation" python -m inference.cli evaluate "$output/sqair-$size" --num-particles 5 \
        --evidence-particles 32 --device cuda
done
