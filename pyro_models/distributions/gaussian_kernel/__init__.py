"""The fused CPU kernel of `LinearGaussianSSM`: log p(a), its gradients, and E[z | a], in two sweeps over time.

**How it is made.** numba compiles it; no C compiler is needed. Eight sequences lie side by side, one in each lane of a
vector of eight doubles, and every number of the recursion is such a vector. The arithmetic is in doubles for float32
tensors, too. From the bottom up:

- `vectors` writes LLVM vector instructions for products of small matrices and for a factorisation, for literal sizes;
- `memory` moves numbers between tensors and lanes, transposing them on the way;
- `steps` has one step of the recursion as such code: Joseph's update forwards, its adjoint, derived by hand, backwards.
  Its equations are on top of that file;
- `fused` puts both sweeps around the steps: `build_sweep(state, obs)` makes the kernel for one pair of sizes;
- `lanes` says which sequence lies in which lane, so that what sequences share is swept once;
- `call` hands tensors to the kernel, on the thread that called, without Python's global lock.

A kernel is compiled when it is first needed for a pair of sizes and a dtype. That takes seconds; the logger
`pyro_models.distributions.gaussian_kernel.call` says so. numba keeps it on disk (beside `fused.py`, or in
`NUMBA_CACHE_DIR`) until a file of this folder changes.

**Who calls it.** `gaussian_marginal` and `gaussian_smoother`, as the PyTorch operators `kinema::gaussian_log_prob` (and
one for its gradients) and `kinema::gaussian_smoothed_mean`, so that a traced or compiled step holds single nodes.
Their `kernel_serves` lists what it supports: CPU tensors in float32 or float64, states up to 16 and observations up to
8 dimensions, more than one time step. Everything else, including second derivatives, forward mode and `torch.func`, is
computed to the same numbers by the PyTorch code of `gaussian_steps`, the reference.

**How it is tested.** `tests/pyro_models/distributions/test_gaussian_marginal.py` and `test_gaussian_smoother.py` hold
values and gradients to the reference, which shares no code with the kernel: for every way in which sequences and
steps can share parameters, with and without offsets and missing steps, on a grid of noises and lengths in float32, and
under `torch.library.opcheck`. `benchmarks/gaussian_marginal.py` measures it beside peers.

**How to switch it off.** Without numba it is never called, and nothing else needs numba. Where numba is installed::

    from pyro_models.distributions import gaussian_marginal
    gaussian_marginal.MAX_STATE = 0  # no model has states that small: the reference serves all

Do this first: a step that was traced or compiled before holds the kernel's operators.
"""
