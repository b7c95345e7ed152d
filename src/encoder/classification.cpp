#include "bliss/encoder/classification.hpp"

#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"

#include "layers.hpp"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_side = tile::k_padded_tile_px;

}  // namespace

at::Tensor psf_channel(const SourceWindows& windows) {
    const std::int64_t n = windows.offset_px.size(0);
    at::Tensor channel = torch::empty({n, 1, k_side, k_side});
    const at::Tensor offset = windows.offset_px.contiguous(), index = windows.psf_index.contiguous();
    const at::Tensor profiles = windows.psf_profiles.contiguous();
    const float* const offset_at = offset.data_ptr<float>();
    float* const out = channel.data_ptr<float>();
    at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k) {
            const float* const table = profiles.data_ptr<float>() + index.data_ptr<std::int64_t>()[k] * k_profile_length;
            const float x = offset_at[2 * k] + k_side / 2, y = offset_at[2 * k + 1] + k_side / 2;
            for (std::int64_t pixel = 0; pixel < k_side * k_side; ++pixel) {
                const float dx = static_cast<float>(pixel % k_side) - x, dy = static_cast<float>(pixel / k_side) - y;
                const float step = std::sqrt(dx * dx + dy * dy) / static_cast<float>(k_profile_step_px);
                const int below = std::min(static_cast<int>(step), static_cast<int>(k_profile_length) - 2);
                out[k * k_side * k_side + pixel] = table[below] + (step - static_cast<float>(below)) * (table[below + 1] - table[below]);
            }
        }
    });
    return channel;
}

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
    const auto in = static_cast<std::int64_t>(config.bands.size()) * tile::feature_count(config.compression_scales.size()) + 1;
    const std::int64_t w = config.classifier_width;
    const torch::nn::Conv2d layers[] = {
        conv(in, 2 * w, 4, 2),      // 25
        conv(2 * w, 2 * w, 3),      // 23
        conv(2 * w, 3 * w, 3, 2),   // 11
        conv(3 * w, 4 * w, 3),      // 9
        conv(4 * w, 4 * w, 3),      // 7
        conv(4 * w, 4 * w, 3),      // 5
    };
    for (const auto& layer : layers) convs_.push_back(register_module("conv" + std::to_string(convs_.size()), layer));
    film_ = register_module("film", Film(k_condition_count + 2, 2 * w));
    hidden_ = register_module("hidden", torch::nn::Linear(4 * w * 5 * 5, 64));
    out_ = register_module("out", torch::nn::Linear(64, 1));
}

at::Tensor ClassificationEncoderImpl::forward(const SourceWindows& windows) {
    const auto dtype = convs_.front()->weight.scalar_type();
    at::Tensor h = torch::cat({windows.features, psf_channel(windows)}, 1)
                       .to(dtype)
                       .contiguous(torch::MemoryFormat::ChannelsLast);
    h = rectify(film_->forward(convs_[0]->forward(h), torch::cat({windows.conditions, windows.offset_px}, 1)));
    for (std::size_t k = 1; k < convs_.size(); ++k) h = rectify(convs_[k]->forward(h));
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    h = h.to(torch::kFloat).contiguous().flatten(1);
    return out_->forward(rectify(hidden_->forward(h))).squeeze(1).to(torch::kFloat);
}

void ClassificationEncoderImpl::use_bfloat16() {
    for (auto& layer : convs_) layer->to(torch::kBFloat16);
}

}  // namespace bliss::encoder
