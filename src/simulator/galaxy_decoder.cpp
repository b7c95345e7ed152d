#include "bliss/simulator/galaxy_decoder.hpp"

#include "bliss/core/error.hpp"
#include "fast_math.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bliss::simulator {
namespace {

/// Galaxies are decoded so many at a time, one in each lane of the processor's vectors.
constexpr std::size_t k_lanes = 16;
/// Rows of a layer computed at once, so that sums do not wait for each other.
constexpr std::size_t k_rows = 8;

/// Numbers of k_lanes galaxies: (number, lane).
using Block = std::vector<float>;

Block affine(const DenseLayer& layer, const Block& in) {
    const std::size_t outputs = layer.bias.size(), inputs = in.size() / k_lanes;
    Block out(outputs * k_lanes);
    for (std::size_t first = 0; first < outputs; first += k_rows) {
        const std::size_t rows = std::min(k_rows, outputs - first);
        float sums[k_rows][k_lanes] = {};
        const float* weight[k_rows];
        for (std::size_t r = 0; r < k_rows; ++r) weight[r] = layer.weight.data() + (first + std::min(r, rows - 1)) * inputs;
        for (std::size_t k = 0; k < inputs; ++k) {
            const float* const x = in.data() + k * k_lanes;
            for (std::size_t r = 0; r < k_rows; ++r) {
#pragma omp simd
                for (std::size_t lane = 0; lane < k_lanes; ++lane) sums[r][lane] += weight[r][k] * x[lane];
            }
        }
        for (std::size_t r = 0; r < rows; ++r) {
            for (std::size_t lane = 0; lane < k_lanes; ++lane) out[(first + r) * k_lanes + lane] = sums[r][lane] + layer.bias[first + r];
        }
    }
    return out;
}

void silu(Block& x) {
    const std::size_t n = x.size();
    float* const at = x.data();
#pragma omp simd
    for (std::size_t k = 0; k < n; ++k) at[k] = fast_silu(at[k]);
}

/// Squares of the radii that hold half the light of k_lanes mixtures of circles. @param inverse 1 / (2 variance)
void half_light_squares(const float* weight, const float* inverse, std::size_t gaussians, float* squares) {
    float low[k_lanes], high[k_lanes];
    for (std::size_t lane = 0; lane < k_lanes; ++lane) {
        float least = inverse[lane], most = inverse[lane];
        for (std::size_t j = 1; j < gaussians; ++j) {
            least = std::min(least, inverse[j * k_lanes + lane]);
            most = std::max(most, inverse[j * k_lanes + lane]);
        }
        low[lane] = std::log(0.005f / most);
        high[lane] = std::log(25 / least);
    }
    constexpr int k_halvings = 22;  // to a few parts in a million
    for (int i = 0; i < k_halvings; ++i) {
        float middle[k_lanes], square[k_lanes], outside[k_lanes] = {};
#pragma omp simd
        for (std::size_t lane = 0; lane < k_lanes; ++lane) {
            middle[lane] = 0.5f * (low[lane] + high[lane]);
            square[lane] = fast_exp(middle[lane]);
        }
        for (std::size_t j = 0; j < gaussians; ++j) {
#pragma omp simd
            for (std::size_t lane = 0; lane < k_lanes; ++lane) {
                outside[lane] += weight[j * k_lanes + lane] * fast_exp(-square[lane] * inverse[j * k_lanes + lane]);
            }
        }
#pragma omp simd
        for (std::size_t lane = 0; lane < k_lanes; ++lane) {
            low[lane] = outside[lane] > 0.5f ? middle[lane] : low[lane];
            high[lane] = outside[lane] > 0.5f ? high[lane] : middle[lane];
        }
    }
    for (std::size_t lane = 0; lane < k_lanes; ++lane) squares[lane] = fast_exp(0.5f * (low[lane] + high[lane]));
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
    if (inputs % k_mixture_numbers != 0)
        throw DataError(fmt::format("galaxy decoder: {} outputs are no whole number of Gaussians", inputs));
    gaussians_ = inputs / k_mixture_numbers;
    for (const CouplingLayer& coupling : couplings_) {
        if (coupling.moved.size() != shape_latents_) throw DataError("galaxy decoder: a coupling is for another number of latents");
        require_shape(coupling.hidden, shape_latents_, coupling.hidden.bias.size(), "a coupling");
        require_shape(coupling.out, coupling.hidden.bias.size(), 2 * shape_latents_, "a coupling");
    }
}

/// Mixtures of k_lanes galaxies, lengths in their units: each (Gaussian, lane).
struct GalaxyDecoder::Mixtures {
    Block weight, x, y, xx, xy, yy;
    Block area;   ///< square root of the covariance's determinant
};

GalaxyDecoder::Mixtures GalaxyDecoder::decode(std::span<const float> shape_latents) const {
    const std::size_t n = shape_latents_, galaxies = shape_latents.size() / n;
    Block x(n * k_lanes);
    for (std::size_t lane = 0; lane < k_lanes; ++lane) {
        for (std::size_t i = 0; i < n; ++i) x[i * k_lanes + lane] = shape_latents[std::min(lane, galaxies - 1) * n + i];
    }
    for (const CouplingLayer& coupling : couplings_) {
        Block kept = x;
        for (std::size_t i = 0; i < n; ++i) {
            if (coupling.moved[i]) std::fill_n(kept.begin() + static_cast<std::ptrdiff_t>(i * k_lanes), k_lanes, 0.0f);
        }
        Block hidden = affine(coupling.hidden, kept);
        silu(hidden);
        const Block out = affine(coupling.out, hidden);
        for (std::size_t i = 0; i < n; ++i) {
            if (!coupling.moved[i]) continue;
            float* const at = x.data() + i * k_lanes;
            const float* const ln_scale = out.data() + i * k_lanes;
            const float* const shift = out.data() + (n + i) * k_lanes;
#pragma omp simd
            for (std::size_t lane = 0; lane < k_lanes; ++lane) {
                at[lane] = at[lane] * fast_exp(static_cast<float>(k_coupling_reach) * fast_tanh(ln_scale[lane])) + shift[lane];
            }
        }
    }
    for (std::size_t k = 0; k < layers_.size(); ++k) {
        x = affine(layers_[k], x);
        if (k + 1 < layers_.size()) silu(x);
    }
    // Numbers lie as (number, Gaussian, lane).
    const std::size_t size = gaussians_ * k_lanes;
    const auto number = [&](MixtureNumber which) { return x.data() + which * size; };
    Mixtures out{Block(size), Block(size), Block(size), Block(size), Block(size), Block(size), Block(size)};
    float most[k_lanes], total[k_lanes] = {}, centre_x[k_lanes] = {}, centre_y[k_lanes] = {};
    std::fill_n(most, k_lanes, -1e30f);
    const auto for_each = [&](const auto& work) {
        for (std::size_t first = 0; first < size; first += k_lanes) {
#pragma omp simd
            for (std::size_t lane = 0; lane < k_lanes; ++lane) work(first + lane, lane);
        }
    };
    for_each([&](std::size_t k, std::size_t lane) { most[lane] = std::max(most[lane], number(k_log_weight)[k]); });
    for_each([&](std::size_t k, std::size_t lane) {
        out.weight[k] = fast_exp(number(k_log_weight)[k] - most[lane]);
        total[lane] += out.weight[k];
        out.x[k] = static_cast<float>(k_centre_reach) * fast_tanh(number(k_centre_x)[k]);
        out.y[k] = static_cast<float>(k_centre_reach) * fast_tanh(number(k_centre_y)[k]);
        const auto scale = [&](MixtureNumber which) {
            return fast_exp(static_cast<float>(k_ln_scale_centre) + static_cast<float>(k_ln_scale_reach) * fast_tanh(number(which)[k]));
        };
        const float upper = scale(k_ln_scale_x), lower = scale(k_ln_scale_y), below = upper * number(k_shear)[k];
        out.xx[k] = upper * upper;
        out.xy[k] = upper * below;
        out.yy[k] = below * below + lower * lower;
        out.area[k] = upper * lower;
    });
    for_each([&](std::size_t k, std::size_t lane) {
        out.weight[k] /= total[lane];
        centre_x[lane] += out.weight[k] * out.x[k];
        centre_y[lane] += out.weight[k] * out.y[k];
    });
    for_each([&](std::size_t k, std::size_t lane) {
        out.x[k] -= centre_x[lane];
        out.y[k] -= centre_y[lane];
    });
    return out;
}

template <class Visit>
void GalaxyDecoder::for_each_block(std::span<const float> shape_latents, const Visit& visit) const {
    const std::size_t galaxies = shape_latents.size() / shape_latents_;
    for (std::size_t first = 0; first < galaxies; first += k_lanes) {
        const std::size_t count = std::min(k_lanes, galaxies - first);
        visit(first, count, decode(shape_latents.subspan(first * shape_latents_, count * shape_latents_)));
    }
}

void GalaxyDecoder::lights(std::span<const float> shape_latents, std::span<GalaxyLight> out) const {
    for_each_block(shape_latents, [&](std::size_t first, std::size_t count, const Mixtures& m) {
        for (std::size_t lane = 0; lane < count; ++lane) {
            GalaxyLight& light = out[first + lane];
            light.clear();
            for (std::size_t k = lane; k < gaussians_ * k_lanes; k += k_lanes) {
                light.push_back({m.weight[k], m.x[k], m.y[k], m.xx[k], m.xy[k], m.yy[k]});
            }
        }
    });
}

GalaxyLight GalaxyDecoder::light(std::span<const float> v, double unit_px) const {
    GalaxyLight out;
    lights(v.subspan(1, shape_latents_), std::span{&out, 1});
    return scaled(std::move(out), unit_px);
}

void GalaxyDecoder::morphologies(std::span<const float> shape_latents, std::span<Morphology> out) const {
    for_each_block(shape_latents, [&](std::size_t first, std::size_t count, const Mixtures& m) {
        const std::size_t size = gaussians_ * k_lanes;
        float e1[k_lanes] = {}, e2[k_lanes] = {}, squares[k_lanes];
        Block inverse(size);
        for (std::size_t k = 0; k < size; ++k) {
            const std::size_t lane = k % k_lanes;
            const float area = m.area[k], sum = m.xx[k] + m.yy[k] + 2 * area;
            e1[lane] += m.weight[k] * (m.xx[k] - m.yy[k]) / sum;
            e2[lane] += m.weight[k] * 2 * m.xy[k] / sum;
            inverse[k] = 0.5f / area;
        }
        half_light_squares(m.weight.data(), inverse.data(), gaussians_, squares);
        for (std::size_t lane = 0; lane < count; ++lane) {
            out[first + lane] = {std::sqrt(static_cast<double>(squares[lane])), e1[lane], e2[lane]};
        }
    });
}

}  // namespace bliss::simulator
