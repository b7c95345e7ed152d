#pragma once

#include <torch/torch.h>

namespace bliss::tile {

/// asinh, from functions that LibTorch vectorises.
inline at::Tensor fast_asinh(const at::Tensor& x) {
    const at::Tensor size = x.abs();
    return torch::sqrt(size.square().add_(1)).add_(size).log_().copysign_(x);
}

}  // namespace bliss::tile
