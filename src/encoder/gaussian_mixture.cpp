#include "bliss/encoder/gaussian_mixture.hpp"

#include <torch/torch.h>

#include <numbers>
#include <vector>

namespace bliss::encoder {

GaussianMixture GaussianMixture::scaled(const at::Tensor& factor) const {
    const at::Tensor square = factor * factor;
    return {weight, x * factor, y * factor, xx * square, xy * square, yy * square};
}

CircularMixture CircularMixture::convolved_with_itself() const {
    std::vector<at::Tensor> weights, variances;
    for (std::int64_t p = 0; p < weight.size(1); ++p) {
        for (std::int64_t q = p; q < weight.size(1); ++q) {
            weights.push_back((p == q ? 1 : 2) * weight.select(1, p) * weight.select(1, q));
            variances.push_back(variance.select(1, p) + variance.select(1, q));
        }
    }
    return {torch::stack(weights, 1), torch::stack(variances, 1)};
}

at::Tensor overlap(const GaussianMixture& a, const GaussianMixture& b, const CircularMixture& psf_squared) {
    // (B, J of a, J of b, P)
    const auto of_a = [](const at::Tensor& t) { return t.unsqueeze(2).unsqueeze(3); };
    const auto of_b = [](const at::Tensor& t) { return t.unsqueeze(1).unsqueeze(3); };
    const auto of_psf = [](const at::Tensor& t) { return t.unsqueeze(1).unsqueeze(1); };
    const at::Tensor xx = of_a(a.xx) + of_b(b.xx) + of_psf(psf_squared.variance);
    const at::Tensor yy = of_a(a.yy) + of_b(b.yy) + of_psf(psf_squared.variance);
    const at::Tensor xy = of_a(a.xy) + of_b(b.xy);
    const at::Tensor determinant = xx * yy - xy * xy;
    const at::Tensor dx = of_a(a.x) - of_b(b.x), dy = of_a(a.y) - of_b(b.y);
    const at::Tensor exponent = -0.5 * (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / determinant;
    const at::Tensor value = torch::exp(exponent) * torch::rsqrt(determinant) / (2 * std::numbers::pi);
    return (of_a(a.weight) * of_b(b.weight) * of_psf(psf_squared.weight) * value).sum({1, 2, 3});
}

}  // namespace bliss::encoder
