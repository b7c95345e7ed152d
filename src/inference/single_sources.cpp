#include "bliss/inference/single_sources.hpp"

#include "bliss/simulator/prior.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::inference {
namespace {

/// Sources looked at at once: on a processor their activations stay in the cache, on a GPU they are few launches.
constexpr std::size_t k_sources_per_batch = 64, k_sources_per_batch_gpu = 256;
/// Draws that a shape's marginals are taken over.
constexpr std::int64_t k_shape_draws = 64;

/// Angles of lines are the same half a turn on: taken next to the mean direction, weighted by how elongated each is.
Marginal marginal_angle(const std::vector<simulator::Morphology>& shapes) {
    double e1 = 0, e2 = 0;
    for (const auto& shape : shapes) {
        e1 += shape.e1;
        e2 += shape.e2;
    }
    const double middle = 0.5 * std::atan2(e2, e1);
    std::vector<double> angles;
    for (const auto& shape : shapes) {
        angles.push_back(middle + std::remainder(0.5 * std::atan2(shape.e2, shape.e1) - middle, std::numbers::pi));
    }
    Marginal out = marginal_of(std::move(angles));
    const double turn = std::numbers::pi * std::floor(out.median / std::numbers::pi);
    for (double* const angle : {&out.median, &out.low, &out.high}) *angle -= turn;
    return out;
}

ShapeMarginals summarize(const std::vector<simulator::Morphology>& shapes) {
    std::vector<double> radius, axis_ratio;
    for (const auto& shape : shapes) {
        radius.push_back(shape.half_light_radius_px);
        axis_ratio.push_back(shape.axis_ratio());
    }
    return {marginal_of(std::move(radius)), marginal_of(std::move(axis_ratio)), marginal_angle(shapes)};
}

}  // namespace

SourceReader::SourceReader(const encoder::Model& model, const FrameInput& input, const survey::Psf& psf, const PriorShift& shift)
    : model_{model},
      input_{input},
      shift_{shift},
      ln_noise_{input.conditions.ln_noise.item<double>()},
      psf_profile_{torch::tensor(encoder::psf_profile(psf)).unsqueeze(0).to(input.features.device())} {
    if (model.galaxies) decoder_ = model.galaxies->decoder->exported();
}

at::Tensor SourceReader::shape_numbers(std::span<RandomStream> streams, std::int64_t draws) const {
    const auto latents = static_cast<std::int64_t>(decoder_->latents());
    at::Tensor out = torch::empty({std::ssize(streams), draws, latents});
    float* at = out.data_ptr<float>();
    for (RandomStream& stream : streams) {
        encoder::write_shape_numbers(stream, draws, latents, at);
        at += draws * latents;
    }
    return out;
}

encoder::SourceWindows SourceReader::windows(std::span<const encoder::GivenSource> sources) const {
    const std::int64_t n = std::ssize(sources);
    std::vector<std::int64_t> image(sources.size(), 0), row, col;
    encoder::SourceWindows out;
    out.given = torch::empty({n, encoder::k_given_count});
    float* given = out.given.data_ptr<float>();
    for (const encoder::GivenSource& source : sources) {
        col.push_back(std::lround(source.x_px) + tile::k_padding_px);
        row.push_back(std::lround(source.y_px) + tile::k_padding_px);
        given = std::ranges::copy(encoder::given_numbers(source), given).out;
    }
    const c10::Device device = input_.features.device();
    out.given = out.given.to(device);
    out.features = tile::crops(input_.features, image, row, col, tile::k_padded_tile_px);
    out.conditions = input_.conditions.numbers.expand({n, -1});
    out.psf_profiles = psf_profile_;
    out.psf_index = torch::zeros({n}, torch::TensorOptions().dtype(torch::kLong).device(device));
    encoder::add_star_channels(out, model_.config.compression_scales.front());
    return out;
}

void SourceReader::for_each_batch(std::span<const encoder::GivenSource> sources,
                                  const std::function<void(std::size_t, const encoder::SourceWindows&)>& work) const {
    const std::size_t at_once = input_.features.is_cuda() ? k_sources_per_batch_gpu : k_sources_per_batch;
    const auto batches = static_cast<std::int64_t>((sources.size() + at_once - 1) / at_once);
    tile::for_each_on_one_thread(batches, [&](std::int64_t batch) {
        const std::size_t first = static_cast<std::size_t>(batch) * at_once;
        work(first, windows(sources.subspan(first, std::min(at_once, sources.size() - first))));
    });
}

void SourceReader::light_up(std::span<simulator::Source> sources) const {
    if (decoder_) {
        simulator::light_up(model_.prior, *decoder_, sources);
        return;
    }
    for (simulator::Source& source : sources) {
        if (!source.is_star) source.light = simulator::light_of(simulator::median_shape(model_.prior, source.flux_e));
    }
}

std::vector<TypeAndShape> SourceReader::read(std::span<const encoder::GivenSource> sources, const StreamOf& random) const {
    std::vector<TypeAndShape> out(sources.size());
    for_each_batch(sources, [&](std::size_t first, const encoder::SourceWindows& seen) {
        const encoder::SourcePosterior q = ask(seen);
        const std::vector<double> stars = stars_of(sources, first, q);
        for (std::size_t k = 0; k < stars.size(); ++k) out[first + k].p_star = stars[k];
        if (!decoder_) return;
        std::vector<RandomStream> streams;
        for (std::size_t k = 0; k < stars.size(); ++k) streams.push_back(random(first + k));
        const at::Tensor latents = drawn_shapes(q, shape_numbers(streams, k_shape_draws));
        const std::size_t of_source = static_cast<std::size_t>(k_shape_draws) * (decoder_->latents() - 1);
        std::vector<simulator::Morphology> shapes(static_cast<std::size_t>(k_shape_draws));
        for (std::size_t k = 0; k < stars.size(); ++k) {
            decoder_->morphologies({latents.data_ptr<float>() + k * of_source, of_source}, shapes);
            const encoder::GivenSource& source = sources[first + k];
            for (simulator::Morphology& shape : shapes) {
                // The size goes with the flux, which is no surer than it is said to be.
                const double ln_flux = source.ln_flux_above_noise + ln_noise_ + source.ln_flux_err * streams[k].normal();
                shape.half_light_radius_px *= simulator::size_unit_px(model_.prior, std::exp(ln_flux));
            }
            out[first + k].shape = summarize(shapes);
        }
    });
    return out;
}

std::vector<double> SourceReader::p_star(std::span<const encoder::GivenSource> sources) const {
    std::vector<double> out(sources.size());
    for_each_batch(sources, [&](std::size_t first, const encoder::SourceWindows& seen) {
        std::ranges::copy(stars_of(sources, first, ask(seen)), out.begin() + static_cast<std::ptrdiff_t>(first));
    });
    return out;
}

std::vector<TypeAndDraw> SourceReader::draw(std::span<const encoder::GivenSource> sources, const StreamOf& random) const {
    std::vector<TypeAndDraw> out(sources.size());
    for_each_batch(sources, [&](std::size_t first, const encoder::SourceWindows& seen) {
        const encoder::SourcePosterior q = ask(seen);
        const std::vector<double> stars = stars_of(sources, first, q);
        std::vector<RandomStream> streams;
        for (std::size_t k = 0; k < stars.size(); ++k) {
            streams.push_back(random(first + k));
            out[first + k].is_star = streams.back().uniform() < stars[k];
        }
        if (!decoder_) return;
        const at::Tensor shapes = drawn_shapes(q, shape_numbers(streams, 1));
        const std::size_t latents = decoder_->latents();
        for (std::size_t k = 0; k < stars.size(); ++k) {
            if (out[first + k].is_star) continue;
            const double flux_e = std::exp(sources[first + k].ln_flux_above_noise + ln_noise_);
            out[first + k].latents.push_back(static_cast<float>(simulator::flux_latent(model_.prior, flux_e)));
            const float* const shape = shapes.data_ptr<float>() + k * (latents - 1);
            out[first + k].latents.insert(out[first + k].latents.end(), shape, shape + latents - 1);
        }
    });
    return out;
}

encoder::SourcePosterior SourceReader::ask(const encoder::SourceWindows& seen) const {
    encoder::SourceEncoder network = model_.sources;  // a handle: calling it does not change it
    return network->forward(seen);
}

std::vector<double> SourceReader::stars_of(std::span<const encoder::GivenSource> sources, std::size_t first,
                                           const encoder::SourcePosterior& q) const {
    const at::Tensor p = torch::sigmoid(q.star_logits).to(torch::kCPU).contiguous();
    std::vector<double> out;
    for (std::int64_t k = 0; k < p.size(0); ++k) {
        out.push_back(shift_.star(p.data_ptr<float>()[k], sources[first + static_cast<std::size_t>(k)].ln_flux_above_noise + ln_noise_));
    }
    return out;
}

at::Tensor SourceReader::drawn_shapes(const encoder::SourcePosterior& q, const at::Tensor& numbers) {
    return q.shape->draw(numbers.to(q.star_logits.device())).to(torch::kCPU).contiguous();
}

}  // namespace bliss::inference
