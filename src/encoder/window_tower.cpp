#include "bliss/encoder/window_tower.hpp"

#include "bliss/tile/features.hpp"
#include "layers.hpp"

#include <torch/torch.h>

namespace bliss::encoder {

WindowTowerImpl::WindowTowerImpl(const EncoderConfig& config, std::int64_t width) {
    const auto in = static_cast<std::int64_t>(config.bands.size()) * tile::feature_count(config.compression_scales.size()) + 2;
    const torch::nn::Conv2d layers[] = {
        conv(in, 2 * width, 4, 2),         // 52 pixels -> 25
        conv(2 * width, 2 * width, 3),     // 23
        conv(2 * width, 3 * width, 3, 2),  // 11
        conv(3 * width, 4 * width, 3),     // 9
        conv(4 * width, 4 * width, 3),     // 7
        conv(4 * width, 4 * width, 3),     // 5
    };
    for (const auto& layer : layers) convs_.push_back(register_module("conv" + std::to_string(convs_.size()), layer));
    film_ = register_module("film", Film(k_condition_count + k_given_count, 2 * width));
    numbers_ = 4 * width * 5 * 5 + k_condition_count + k_given_count;
}

at::Tensor WindowTowerImpl::forward(const SourceWindows& windows) {
    const at::Tensor told = torch::cat({windows.conditions, windows.given}, 1);
    at::Tensor h = torch::cat({windows.features, windows.star}, 1)
                       .to(convs_.front()->weight.scalar_type())
                       .contiguous(torch::MemoryFormat::ChannelsLast);
    h = rectify(film_->forward(convs_[0]->forward(h), told));
    for (std::size_t k = 1; k < convs_.size(); ++k) h = rectify(convs_[k]->forward(h));
    return torch::cat({h.to(torch::kFloat).contiguous().flatten(1), told}, 1);
}

void WindowTowerImpl::use_bfloat16() {
    for (auto& layer : convs_) layer->to(torch::kBFloat16);
}

}  // namespace bliss::encoder
