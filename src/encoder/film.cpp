#include "bliss/encoder/film.hpp"

#include <torch/torch.h>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_film_hidden = 32;

}  // namespace

FilmImpl::FilmImpl(std::int64_t conditions, std::int64_t channels) : channels_{channels} {
    hidden_ = register_module("hidden", torch::nn::Linear(conditions, k_film_hidden));
    out_ = register_module("out", torch::nn::Linear(k_film_hidden, 2 * channels));
    torch::nn::init::zeros_(out_->weight);
    torch::nn::init::zeros_(out_->bias);
}

at::Tensor FilmImpl::forward(const at::Tensor& x, const at::Tensor& conditions) {
    const at::Tensor out = out_->forward(torch::silu(hidden_->forward(conditions))).to(x.scalar_type());  // (B, 2 channels)
    const at::Tensor both = x.dim() == 4 ? out.view({out.size(0), 2, channels_, 1, 1}) : out.view({out.size(0), 2, 1, channels_});
    const auto parts = both.unbind(1);
    return torch::addcmul(parts[1], x, 1 + parts[0]);
}

}  // namespace bliss::encoder
