#include "bliss/encoder/classification.hpp"

#include "bliss/tile/grid.hpp"

#include "layers.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_side = tile::k_padded_tile_px;

/// The PSF's profile at every pixel of each window. @return (n, 1, 52, 52)
at::Tensor psf_channel(const SourceWindows& windows) {
    const at::Tensor axis = torch::arange(k_side, torch::kFloat) - k_side / 2;                 // (52)
    const at::Tensor dx = axis.view({1, 1, k_side}) - windows.offset_px.select(1, 0).view({-1, 1, 1});
    const at::Tensor dy = axis.view({1, k_side, 1}) - windows.offset_px.select(1, 1).view({-1, 1, 1});
    const at::Tensor at_step = torch::sqrt(dx * dx + dy * dy) / k_profile_step_px;             // (n, 52, 52)
    const at::Tensor below = torch::floor(at_step).clamp_max(k_profile_length - 2);
    const at::Tensor share = at_step - below;
    const at::Tensor first = windows.psf_index.view({-1, 1, 1}) * k_profile_length + below.to(torch::kLong);
    const at::Tensor table = windows.psf_profiles.flatten();
    return torch::lerp(table.take(first), table.take(first + 1), share).unsqueeze(1);
}

}  // namespace

std::vector<float> psf_profile(const survey::Psf& psf) {
    std::vector<float> profile;
    const double peak = psf.value(0);
    for (std::int64_t k = 0; k < k_profile_length; ++k) {
        const double relative = psf.value(k_profile_step_px * static_cast<double>(k)) / peak;
        profile.push_back(static_cast<float>(std::max(-8.0, std::log(relative)) / 4));
    }
    return profile;
}

ClassificationEncoderImpl::ClassificationEncoderImpl(const EncoderConfig& config) {
    const auto in = static_cast<std::int64_t>(config.bands.size() * (config.compression_scales.size() + 1)) + 1;
    const std::int64_t w = config.classifier_width;
    const torch::nn::Conv2d layers[] = {
        conv(in, w, 3),             // 50
        conv(w, 2 * w, 4, 2),       // 24
        conv(2 * w, 3 * w, 3),      // 22
        conv(3 * w, 4 * w, 4, 2),   // 10
        conv(4 * w, 4 * w, 3),      // 8
        conv(4 * w, 4 * w, 3),      // 6
    };
    for (const auto& layer : layers) convs_.push_back(register_module("conv" + std::to_string(convs_.size()), layer));
    film_ = register_module("film", Film(k_condition_count + 2, 2 * w));
    hidden_ = register_module("hidden", torch::nn::Linear(4 * w * 6 * 6, 64));
    out_ = register_module("out", torch::nn::Linear(64, 1));
}

at::Tensor ClassificationEncoderImpl::forward(const SourceWindows& windows) {
    const auto dtype = convs_.front()->weight.scalar_type();
    at::Tensor h = torch::cat({windows.features, psf_channel(windows)}, 1)
                       .to(dtype)
                       .contiguous(torch::MemoryFormat::ChannelsLast);
    h = rectify(convs_[0]->forward(h));
    h = rectify(film_->forward(convs_[1]->forward(h), torch::cat({windows.conditions, windows.offset_px}, 1)));
    for (std::size_t k = 2; k < convs_.size(); ++k) h = rectify(convs_[k]->forward(h));
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    h = h.to(torch::kFloat).contiguous().flatten(1);
    return out_->forward(rectify(hidden_->forward(h))).squeeze(1).to(torch::kFloat);
}

void ClassificationEncoderImpl::use_bfloat16() {
    for (auto& layer : convs_) layer->to(torch::kBFloat16);
}

}  // namespace bliss::encoder
