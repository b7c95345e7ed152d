#pragma once

#include "bliss/encoder/detection.hpp"
#include "bliss/encoder/settings.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <span>
#include <vector>

namespace bliss::encoder {

/// Sources to classify: each is a window of an image's features centred on its location (paper section 3.1).
struct SourceWindows {
    at::Tensor features;      ///< (n, C, 52, 52) as tile::features gives them; the source's pixel is at index 26
    at::Tensor offset_px;     ///< (n, 2) location minus that pixel's centre: x, y, in [-0.5, 0.5]
    at::Tensor conditions;    ///< (n, k_condition_count)
    at::Tensor psf_profiles;  ///< (I, k_profile_length) see psf_profile
    at::Tensor psf_index;     ///< (n) int64: which profile is each source's
};

/// ln of the PSF against its peak at radii 0, 1/4, 1/2 ... pixels, not below -8, divided by 4.
inline constexpr std::int64_t k_profile_length = 160;
inline constexpr double k_profile_step_px = 0.25;
[[nodiscard]] std::vector<float> psf_profile(const survey::Psf& psf);

/// The PSF's profile at every pixel of each window, centred on the exact location. @return (n, 1, 52, 52)
[[nodiscard]] at::Tensor psf_channel(const SourceWindows& windows);

/// The classification encoder: probability that a source at a known location is a star. Beside the image it sees the PSF
/// drawn at the exact location, so what it has to judge is the difference.
class ClassificationEncoderImpl : public torch::nn::Module {
public:
    explicit ClassificationEncoderImpl(const EncoderConfig& config);

    /// @return (n) logits of "star"
    at::Tensor forward(const SourceWindows& windows);

    void use_bfloat16();

private:
    std::vector<torch::nn::Conv2d> convs_;
    Film film_{nullptr};
    torch::nn::Linear hidden_{nullptr};
    torch::nn::Linear out_{nullptr};
};
TORCH_MODULE(ClassificationEncoder);

}  // namespace bliss::encoder
