#include "bliss/training/muon.hpp"

#include <torch/torch.h>

#include <cstdint>
#include <map>

namespace bliss::training {

namespace {

// Newton-Schulz steps of a quintic.
constexpr int k_steps = 5;
constexpr double k_linear = 3.4445, k_cubic = -4.7750, k_quintic = 2.0315;
constexpr double k_least_norm = 1e-7;

/// @param matrices (n, rows, columns)
at::Tensor orthogonalized_stack(const at::Tensor& matrices) {
    const bool tall = matrices.size(1) > matrices.size(2);
    at::Tensor x = (tall ? matrices.transpose(1, 2) : matrices) / (matrices.norm(2, {1, 2}, true) + k_least_norm);
    for (int i = 0; i < k_steps; ++i) {
        const at::Tensor square = torch::bmm(x, x.transpose(1, 2));
        x = torch::baddbmm(x, torch::baddbmm(square, square, square, k_cubic, k_quintic), x, k_linear, 1);
    }
    return tall ? x.transpose(1, 2) : x;
}

}  // namespace

at::Tensor orthogonalized(const at::Tensor& matrix) {
    const bool tall = matrix.size(0) > matrix.size(1);
    at::Tensor x = (tall ? matrix.t() : matrix) / (matrix.norm() + k_least_norm);
    for (int i = 0; i < k_steps; ++i) {
        const at::Tensor square = torch::mm(x, x.t());
        x = torch::addmm(x, torch::addmm(square, square, square, k_cubic, k_quintic), x, k_linear, 1);
    }
    return tall ? x.t() : x;
}

std::vector<at::Tensor> orthogonalized_together(const std::vector<at::Tensor>& matrices) {
    std::map<std::vector<std::int64_t>, std::vector<std::size_t>> of_shape;
    for (std::size_t k = 0; k < matrices.size(); ++k) of_shape[matrices[k].sizes().vec()].push_back(k);
    std::vector<at::Tensor> out(matrices.size());
    for (const auto& [shape, alike] : of_shape) {
        std::vector<at::Tensor> of_this_shape;
        for (const std::size_t k : alike) of_this_shape.push_back(matrices[k]);
        const std::vector<at::Tensor> done = orthogonalized_stack(torch::stack(of_this_shape)).unbind(0);
        for (std::size_t k = 0; k < alike.size(); ++k) out[alike[k]] = done[k];
    }
    return out;
}

}  // namespace bliss::training
