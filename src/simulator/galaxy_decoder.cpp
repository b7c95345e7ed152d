#include "bliss/simulator/galaxy_decoder.hpp"

#include "bliss/core/error.hpp"
#include "fast_math.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bliss::simulator {
namespace {

/// With weights (inputs, outputs): the innermost loop runs over outputs, of which there are many.
std::vector<float> affine(const DenseLayer& layer, std::span<const float> in) {
    std::vector<float> out = layer.bias;
    const std::size_t outputs = out.size();
    float* const at = out.data();
    for (std::size_t k = 0; k < in.size(); ++k) {
        const float* const weight = layer.weight.data() + k * outputs;
        const float x = in[k];
#pragma omp simd
        for (std::size_t row = 0; row < outputs; ++row) at[row] += weight[row] * x;
    }
    return out;
}

/// (outputs, inputs) to (inputs, outputs).
void transpose(DenseLayer& layer) {
    const std::size_t outputs = layer.bias.size(), inputs = layer.weight.size() / outputs;
    std::vector<float> turned(layer.weight.size());
    for (std::size_t row = 0; row < outputs; ++row) {
        for (std::size_t k = 0; k < inputs; ++k) turned[k * outputs + row] = layer.weight[row * inputs + k];
    }
    layer.weight = std::move(turned);
}

void silu(std::vector<float>& x) {
    const std::size_t n = x.size();
    float* const at = x.data();
#pragma omp simd
    for (std::size_t k = 0; k < n; ++k) at[k] = fast_silu(at[k]);
}

void require_shape(const DenseLayer& layer, std::size_t inputs, std::size_t outputs, const char* what) {
    if (layer.bias.size() == outputs && layer.weight.size() == inputs * outputs) return;
    throw DataError(fmt::format("galaxy decoder: {} has {} weights and {} biases, not those of {} inputs and {} outputs", what,
                                layer.weight.size(), layer.bias.size(), inputs, outputs));
}

}  // namespace

GalaxyDecoder::GalaxyDecoder(std::vector<CouplingLayer> couplings, std::vector<DenseLayer> layers)
    : couplings_{std::move(couplings)}, layers_{std::move(layers)} {
    if (layers_.empty() || layers_.front().bias.empty() || layers_.back().bias.empty()) throw DataError("galaxy decoder: it has no layers");
    shape_latents_ = layers_.front().weight.size() / layers_.front().bias.size();
    std::size_t inputs = shape_latents_;
    for (const DenseLayer& layer : layers_) {
        require_shape(layer, inputs, layer.bias.size(), "a layer");
        inputs = layer.bias.size();
    }
    if (inputs % k_mixture_numbers != 0) throw DataError(fmt::format("galaxy decoder: {} outputs are no whole number of Gaussians", inputs));
    gaussians_ = inputs / k_mixture_numbers;
    for (const CouplingLayer& coupling : couplings_) {
        if (coupling.moved.size() != shape_latents_) throw DataError("galaxy decoder: a coupling is for another number of latents");
        require_shape(coupling.hidden, shape_latents_, coupling.hidden.bias.size(), "a coupling");
        require_shape(coupling.out, coupling.hidden.bias.size(), 2 * shape_latents_, "a coupling");
    }
    for (DenseLayer& layer : layers_) transpose(layer);
    for (CouplingLayer& coupling : couplings_) {
        transpose(coupling.hidden);
        transpose(coupling.out);
    }
}

GalaxyLight GalaxyDecoder::light(std::span<const float> v, double unit_px) const {
    std::vector<float> x(v.begin() + 1, v.begin() + 1 + static_cast<std::ptrdiff_t>(shape_latents_));
    for (const CouplingLayer& coupling : couplings_) {
        std::vector<float> kept = x;
        for (std::size_t i = 0; i < x.size(); ++i) kept[i] = coupling.moved[i] ? 0.0f : x[i];
        std::vector<float> hidden = affine(coupling.hidden, kept);
        silu(hidden);
        const std::vector<float> out = affine(coupling.out, hidden);
        for (std::size_t i = 0; i < x.size(); ++i) {
            if (!coupling.moved[i]) continue;
            x[i] = x[i] * fast_exp(static_cast<float>(k_coupling_reach) * fast_tanh(out[i])) + out[x.size() + i];
        }
    }
    for (std::size_t k = 0; k < layers_.size(); ++k) {
        x = affine(layers_[k], x);
        if (k + 1 < layers_.size()) silu(x);
    }
    // Numbers lie as (number, Gaussian).
    const auto number = [&](MixtureNumber which, std::size_t j) { return x[which * gaussians_ + j]; };
    GalaxyLight light(gaussians_);
    float most = -1e30f;
    double total = 0, centre_x = 0, centre_y = 0;
    for (std::size_t j = 0; j < gaussians_; ++j) most = std::max(most, number(k_log_weight, j));
    for (std::size_t j = 0; j < gaussians_; ++j) {
        LightComponent& c = light[j];
        c.weight = fast_exp(number(k_log_weight, j) - most);
        c.x_px = k_centre_reach * fast_tanh(number(k_centre_x, j));
        c.y_px = k_centre_reach * fast_tanh(number(k_centre_y, j));
        const auto scale = [&](MixtureNumber which) {
            return static_cast<double>(fast_exp(static_cast<float>(k_ln_scale_centre) + static_cast<float>(k_ln_scale_reach) * fast_tanh(number(which, j))));
        };
        const double first = scale(k_ln_scale_x), second = scale(k_ln_scale_y), below = first * number(k_shear, j);
        c.xx = first * first;
        c.xy = first * below;
        c.yy = below * below + second * second;
        total += c.weight;
    }
    for (LightComponent& c : light) {
        c.weight /= total;
        centre_x += c.weight * c.x_px;
        centre_y += c.weight * c.y_px;
    }
    for (LightComponent& c : light) {
        c.x_px -= centre_x;
        c.y_px -= centre_y;
    }
    return scaled(std::move(light), unit_px);
}

}  // namespace bliss::simulator
