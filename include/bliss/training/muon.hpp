#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace bliss::training {

/// The nearest matrix with orthonormal rows or columns, roughly: U V^T of the singular value decomposition U S V^T, with
/// singular values between 0.67 and 1.21 in place of 1. Five Newton-Schulz steps of a quintic that grows small singular values
/// fast; products of matrices only. A zero matrix stays zero.
/// @source Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
[[nodiscard]] at::Tensor orthogonalized(const at::Tensor& matrix);

/// The same of several matrices, in few operations where they are of few shapes: for a GPU. @return in their order
[[nodiscard]] std::vector<at::Tensor> orthogonalized_together(const std::vector<at::Tensor>& matrices);

}  // namespace bliss::training
