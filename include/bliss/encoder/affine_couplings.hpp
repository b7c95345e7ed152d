#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace bliss::encoder {

/// An invertible map of n numbers, the identity when new: affine couplings, each of which scales and shifts every other number by what a
/// small network makes of the rest, and of a context where there is one.
/// @source Dinh et al. 2017, "Density estimation using Real NVP".
class AffineCouplings {
public:
    AffineCouplings() = default;

    /// Registers its layers with `parent` as coupling_hidden0, coupling_out0, coupling_context0, ...
    /// @param context numbers of a context, 0: there is none
    AffineCouplings(torch::nn::Module& parent, std::int64_t couplings, std::int64_t numbers, std::int64_t context = 0);

    /// @param x (B, n), or (B, K, n) @param context (B, c), or undefined
    [[nodiscard]] at::Tensor forward(at::Tensor x, const at::Tensor& context = {}) const;

    struct Inverse {
        at::Tensor x;
        at::Tensor log_determinant;   ///< of y by x (B)
    };
    /// @param y (B, n) of `forward`
    [[nodiscard]] Inverse inverse(const at::Tensor& y, const at::Tensor& context = {}) const;

    /// One coupling's parts: which numbers it moves (n), and its network without a context.
    struct Layer {
        at::Tensor moved;   ///< 1 or 0
        torch::nn::Linear hidden{nullptr}, out{nullptr}, context{nullptr};
    };
    [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }

private:
    /// Logarithms of scales and shifts, 0 where nothing is moved. Each like x.
    static std::pair<at::Tensor, at::Tensor> scale_and_shift(const Layer& layer, const at::Tensor& x, const at::Tensor& context);

    std::vector<Layer> layers_;
};

}  // namespace bliss::encoder
