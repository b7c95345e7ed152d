#include "gradient_sums.hpp"

#include "bliss/core/check.hpp"

#include <torch/torch.h>

#include <cmath>

namespace bliss::training {
namespace {

/// Sums that one thread takes at once.
constexpr std::size_t k_at_once = 1 << 14;

}  // namespace

GradientSums::GradientSums(std::int64_t size, int fraction_bits, c10::Device device) : size_{size}, fraction_bits_{fraction_bits} {
    if (device.is_cpu()) {
        host_.emplace(static_cast<std::size_t>(size), fraction_bits);
    } else {
        device_ = torch::zeros({size}, torch::TensorOptions().dtype(torch::kLong).device(device));
    }
}

void GradientSums::clear() {
    if (host_) {
        host_->clear();
    } else {
        device_.zero_();
    }
}

bool GradientSums::add(const at::Tensor& gradients) {
    BLISS_EXPECT(gradients.numel() == size_, "there is a gradient for each sum");
    if (!host_) return add_exactly(device_, gradients, fraction_bits_);
    return host_->add({gradients.data_ptr<float>(), static_cast<std::size_t>(size_)});
}

void GradientSums::sum_of(const std::vector<const GradientSums*>& others) {
    clear();
    if (!host_) {
        for (const GradientSums* const other : others) device_.add_(other->device_);
        return;
    }
    const auto size = static_cast<std::size_t>(size_);
    tile::for_each_on_one_thread(static_cast<std::int64_t>((size + k_at_once - 1) / k_at_once), [&](std::int64_t k) {
        const std::size_t begin = static_cast<std::size_t>(k) * k_at_once, end = std::min(size, begin + k_at_once);
        for (const GradientSums* const other : others) host_->add(*other->host_, begin, end);
    });
}

at::Tensor GradientSums::read() const {
    if (!host_) return (device_.to(torch::kDouble) * std::ldexp(1.0, -fraction_bits_)).to(torch::kFloat);
    at::Tensor out = torch::empty({size_});
    host_->read({out.data_ptr<float>(), static_cast<std::size_t>(size_)});
    return out;
}

bool add_exactly(at::Tensor& integers, const at::Tensor& terms, int fraction_bits) {
    const at::Tensor inside = (terms.abs() < std::ldexp(1.0f, 53 - fraction_bits)).all();  // not where it is no number
    if (!inside.item<bool>()) return false;
    integers.add_((terms.to(torch::kDouble) * std::ldexp(1.0, fraction_bits)).round_().to(torch::kLong));
    return true;
}

}  // namespace bliss::training
