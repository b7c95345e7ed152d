#include "bliss/training/muon.hpp"

#include <torch/torch.h>

namespace bliss::training {

at::Tensor orthogonalized(const at::Tensor& matrix) {
    constexpr int k_steps = 5;
    constexpr double k_linear = 3.4445, k_cubic = -4.7750, k_quintic = 2.0315;
    const bool tall = matrix.size(0) > matrix.size(1);
    at::Tensor x = (tall ? matrix.t() : matrix) / (matrix.norm() + 1e-7);
    for (int i = 0; i < k_steps; ++i) {
        const at::Tensor square = torch::mm(x, x.t());
        x = torch::addmm(x, torch::addmm(square, square, square, k_cubic, k_quintic), x, k_linear, 1);
    }
    return tall ? x.t() : x;
}

}  // namespace bliss::training
