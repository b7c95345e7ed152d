#include "bliss/inference/field.hpp"

#include "bliss/catalog/sky_index.hpp"
#include "bliss/core/check.hpp"
#include "bliss/core/error.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/inference/prior_shift.hpp"
#include "bliss/inference/reconstruction.hpp"
#include "bliss/inference/samples.hpp"
#include "bliss/inference/single_sources.hpp"
#include "bliss/inference/star_field.hpp"
#include "bliss/inference/turns.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"
#include "rows.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <optional>

namespace bliss::inference {
namespace {

using Clock = std::chrono::steady_clock;

/// Most rounds of an estimate of the prior, the relative change of its numbers at which it has settled, and the least p_source of the
/// candidates it looks at.
constexpr int k_estimate_rounds = 8;
constexpr double k_settled = 0.02;
constexpr double k_estimate_floor = 0.05;
/// A prior that weighs sources by more than this, up or down, leans on what was rare in training.
constexpr double k_far_factor = 10;

double lap(Clock::time_point& start) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - start).count();
    start = now;
    return seconds;
}

/// Area of a number of tiles, in tiles of 4x4 pixels: what rates are said for.
double area_of(std::int64_t tiles, std::int64_t tile_px) {
    return static_cast<double>(tiles * tile_px * tile_px) / static_cast<double>(tile::k_tile_px * tile::k_tile_px);
}

/// @param density sources found, per 4x4-pixel tile @param by_likelihood whether the field is drawn from the likelihood itself
void warn_outside_training(const encoder::ModelCard& card, const catalog::FieldRow& field, double density, bool by_likelihood,
                           const std::string& source) {
    const auto outside = [&](std::string_view what, double value, double low, double high) {
        if (value >= low && value <= high) return;
        spdlog::warn("{}: {} {:.4g} is outside the model's training range {:.4g} to {:.4g}; probabilities may be off", source, what,
                     value, low, high);
    };
    outside("PSF FWHM (px)", field.psf_fwhm_px, card.psf_fwhm_px_low, card.psf_fwhm_px_high);
    outside("background (electrons)", field.background_e, card.background_e_low, card.background_e_high);
    if ((field.prior_flags & catalog::k_prior_rate_outside) != 0) {
        spdlog::warn("{}: the prior of {:.4g} sources a tile is outside the model's training range {:.4g} to {:.4g}; {}", source,
                     double{field.sources_per_tile}, card.sources_per_tile_low, card.sources_per_tile_high,
                     by_likelihood ? "draws obey it, but the network that they begin with does not know it" : "beyond it only odds move");
    }
    if ((field.prior_flags & catalog::k_prior_far) != 0) {
        spdlog::warn(
            "{}: the prior (share of stars {:.3g}, exponents {:.3g} and {:.3g}) weighs some sources over ten times more or less than "
            "the model's training did; their probabilities lean on what was rare in it",
            source, double{field.star_fraction}, double{field.star_alpha}, double{field.galaxy_alpha});
    }
    if ((field.prior_flags & catalog::k_density_outside) != 0) {
        spdlog::warn("{}: {:.4f} sources per tile are outside the model's training range ({:.4f} to {:.4f}); use a model for such fields",
                     source, density, card.sources_per_tile_low, card.sources_per_tile_high);
    }
}

/// The prior that the configuration asks for; what it leaves open is the training's.
FieldPrior wanted_prior(const encoder::Model& model, const CatalogConfig& config) {
    FieldPrior out = prior_above_limit(model.prior, config.sources_per_tile > 0 ? config.sources_per_tile : model.card.sources_per_tile);
    const PriorSettings& asked = config.prior;
    if (asked.star_fraction > 0) out.star_fraction = asked.star_fraction;
    if (asked.star_alpha > 0) out.star_alpha = asked.star_alpha;
    if (asked.galaxy_alpha > 0) out.galaxy_alpha = asked.galaxy_alpha;
    return out;
}

/// The nearest prior that the networks can be told: the training's, with the source rate.
FieldPrior told_prior(const encoder::Model& model, const FieldPrior& wanted) {
    return prior_above_limit(model.prior,
                             std::clamp(wanted.sources_per_tile, model.card.sources_per_tile_low, model.card.sources_per_tile_high));
}

std::vector<WeighedSource> weighed(const std::vector<Source>& sources, const std::vector<double>& p_star) {
    std::vector<WeighedSource> out;
    for (std::size_t k = 0; k < sources.size(); ++k) out.push_back({sources[k].p_source, p_star[k], sources[k].tile_ln_flux_e.mean});
    return out;
}

/// The largest relative change of any of a prior's numbers.
double change(const FieldPrior& a, const FieldPrior& b) {
    const auto of = [](double x, double y) { return x == y ? 0 : std::abs(std::log(x / y)); };
    return std::max({of(a.sources_per_tile, b.sources_per_tile), of(a.star_fraction, b.star_fraction), of(a.star_alpha, b.star_alpha),
                     of(a.galaxy_alpha, b.galaxy_alpha)});
}

/// Puts the prior that was used into the field's row, and how both it and what was found lie to the training's.
/// @param density sources found, per 4x4-pixel tile
void record(const FieldPrior& prior, const PriorShift& shift, const encoder::ModelCard& card, double density, catalog::FieldRow& field) {
    field.sources_per_tile = prior.sources_per_tile;
    field.star_fraction = prior.star_fraction;
    field.star_alpha = prior.star_alpha;
    field.galaxy_alpha = prior.galaxy_alpha;
    const bool outside = prior.sources_per_tile < card.sources_per_tile_low || prior.sources_per_tile > card.sources_per_tile_high;
    const bool unusual = density < card.sources_per_tile_low || density > card.sources_per_tile_high;
    field.prior_flags = (outside ? catalog::k_prior_rate_outside : 0u) |
                        (shift.largest_factor() > k_far_factor ? catalog::k_prior_far : 0u) | (unusual ? catalog::k_density_outside : 0u);
}

/// One number of a field, whatever other fields are catalogued with it.
std::uint32_t number_of(const FieldId& id) {
    // Each step is a bijection of 32 bits, so neighbouring fields get numbers far apart.
    std::uint32_t number = 0;
    for (const std::int32_t part : {id.run, id.camcol, id.field}) {
        number = (number ^ static_cast<std::uint32_t>(part)) * 0x9E3779B1u;
        number ^= number >> 15;
    }
    return number;
}

/// Sources of a draw as the renderer takes them.
std::vector<simulator::Source> lit(const SourceReader& reader, const std::vector<SampledSource>& draw) {
    std::vector<simulator::Source> out;
    for (const SampledSource& s : draw) {
        out.push_back({.x_px = s.x_px, .y_px = s.y_px, .is_star = s.is_star, .flux_e = std::exp(s.ln_flux_e), .latents = s.latents});
    }
    reader.light_up(out);
    return out;
}

/// What the encoders of single sources are told of each: mean and standard deviation of what its tile says, as in training.
std::vector<encoder::GivenSource> given_of(const std::vector<Source>& sources, double ln_noise) {
    std::vector<encoder::GivenSource> out;
    for (const Source& s : sources) {
        out.push_back({s.tile_x_px.mean, s.tile_y_px.mean, s.tile_x_px.sd, s.tile_y_px.sd, s.tile_ln_flux_e.mean - ln_noise,
                       s.tile_ln_flux_e.sd});
    }
    return out;
}

std::vector<TypeAndShape> read_kinds(const std::vector<Source>& sources, const TileChain::Shape& shape, const SourceReader& reader,
                                     const DrawKey& key) {
    return reader.read(given_of(sources, shape.ln_noise), [&](std::size_t k) {
        const auto tile = static_cast<std::uint32_t>(sources[k].tile.row * shape.cols + sources[k].tile.col);
        return stream_of(key, StreamPurpose::shape, 0, tile, static_cast<std::uint32_t>(sources[k].slot));
    });
}

/// Adds the rows of a draw's sources that lie on the frame. @param lit the same sources with their light
void add_rows(const survey::Frame& frame, const std::vector<SampledSource>& draw, const std::vector<simulator::Source>& lit,
              std::vector<catalog::SampleRow>& rows) {
    std::vector<std::size_t> on_frame;
    for (std::size_t k = 0; k < draw.size(); ++k) {
        if (!off_frame(frame, draw[k].x_px, draw[k].y_px)) on_frame.push_back(k);
    }
    const std::size_t first = rows.size();
    rows.resize(first + on_frame.size());
    tile::for_each_on_one_thread(std::ssize(on_frame), [&](std::int64_t i) {
        const std::size_t k = on_frame[static_cast<std::size_t>(i)];
        rows[first + static_cast<std::size_t>(i)] = to_row(frame, draw[k], lit[k].light);
    });
}

/// A frame's sources under a prior, with the chain they were found by.
struct UnderPrior {
    PriorShift shift;
    NetworkChain chain;
    FieldSources found;

    /// Tells the networks the prior's source rate; what is left of it outside their training range moves the odds, as do types and fluxes.
    UnderPrior(const encoder::Model& model, const CatalogConfig& config, const survey::Frame& frame, FrameInput& input,
               const at::Tensor& trunk, const FieldPrior& prior, double floor, bool with_tiles = false)
        : shift{model.prior, told_prior(model, prior), prior},
          chain{chain_of(model, config, input, trunk, prior, shift)},
          found{find_sources(chain, floor, with_tiles)} {
        const auto is_off = [&](const Source& source) { return off_frame(frame, source.x_px.median, source.y_px.median); };
        for (const Source& source : found.sources) found.expected_sources -= is_off(source) ? source.p_source : 0;
        std::erase_if(found.sources, is_off);
    }

private:
    static NetworkChain chain_of(const encoder::Model& model, const CatalogConfig& config, FrameInput& input, const at::Tensor& trunk,
                                 const FieldPrior& prior, const PriorShift& shift) {
        encoder::EncoderConfig asked = model.config;
        if (config.independent_tiles) asked.reach = 0;
        input.conditions.rate =
            torch::full({1, 1}, encoder::rate_conditioning(told_prior(model, prior).sources_per_tile)).to(input.features.device());
        return {model.detection, asked, input.conditions, trunk, shift, input.seen};
    }
};

/// Expectation maximisation from the prior given.
FieldPrior estimate_prior(const encoder::Model& model, const CatalogConfig& config, const survey::Frame& frame, FrameInput& input,
                          const at::Tensor& trunk, FieldPrior prior) {
    bool settled = false;
    for (int round = 0; round < k_estimate_rounds && !settled; ++round) {
        const UnderPrior under{model, config, frame, input, trunk, prior, k_estimate_floor};
        const SourceReader reader{model, input, frame.psf, under.shift};
        const std::vector<double> p_star = reader.p_star(given_of(under.found.sources, under.chain.shape().ln_noise));
        const FieldPrior next = estimated_prior(weighed(under.found.sources, p_star), under.found.expected_sources,
                                                area_of(under.chain.seen_tiles(), model.config.tile_px), model.prior, prior);
        settled = change(prior, next) < k_settled;
        prior = next;
    }
    if (!settled) {
        spdlog::warn(
            "{}: the estimate of the prior has not settled to {:.0f} % after {} rounds; begin nearer to it (sources_per_tile, [prior]), or "
            "give it there with prior.estimate = false",
            frame.source, 100 * k_settled, k_estimate_rounds);
    }
    spdlog::info("{}: prior estimated: {:.4g} sources a tile, {:.3g} of them stars, exponents {:.3g} and {:.3g}", frame.source,
                 prior.sources_per_tile, prior.star_fraction, prior.star_alpha, prior.galaxy_alpha);
    return prior;
}

}  // namespace

Cataloguer::Cataloguer(encoder::Model model, const CatalogConfig& config, encoder::Precision precision, c10::Device device)
    : model_{std::move(model)},
      config_{config},
      device_{device},
      by_likelihood_{config.stars.likelihood && model_.prior.star_fraction == 1} {
    const double trained = model_.prior.star_fraction;
    if ((trained == 0 || trained == 1) &&
        (config.prior.star_fraction != 0 || (trained == 1 ? config.prior.galaxy_alpha : config.prior.star_alpha) != 0)) {
        throw ConfigError(
            fmt::format("prior.star_fraction and prior.{}_alpha: the model was trained on {} alone and knows nothing else; leave them out",
                        trained == 1 ? "galaxy" : "star", trained == 1 ? "stars" : "galaxies"));
    }
    BLISS_EXPECT(precision != encoder::Precision::automatic, "the precision has been chosen");
    if (precision == encoder::Precision::bfloat16) model_.use_bfloat16();
    model_.use(device);
}

Cataloguer::Draws Cataloguer::sample(const survey::Frame& frame, const TileChain& chain, const SourceReader& reader,
                                     const DrawKey& key) const {
    Draws out;
    const auto looked_at = static_cast<std::size_t>(Reconstruction::draws_looked_at(frame, config_.samples));
    for (auto& draw : draw_sources(chain, key, config_.samples)) {
        draw_types_and_shapes(reader, key, draw);
        std::vector<simulator::Source> sources = lit(reader, draw);
        add_rows(frame, draw, sources, out.rows);
        if (out.looked_at.size() < looked_at) out.looked_at.push_back(std::move(sources));
    }
    return out;
}

Cataloguer::Draws Cataloguer::sample(const survey::Frame& frame, const StarField& field) const {
    Draws out;
    for (const auto& draw : samples_of(field, frame, config_.samples, std::log(model_.prior.label_flux_min_e), model_.config.tile_px)) {
        for (const SampledSource& source : draw) out.rows.push_back(to_row(frame, source, {}));
    }
    const std::int64_t looked_at = Reconstruction::draws_looked_at(frame, config_.samples);
    for (std::int64_t k = 1; k <= looked_at; ++k) {
        auto& sources = out.looked_at.emplace_back();
        for (const stars::Star& star : field.draws[static_cast<std::size_t>(k * std::ssize(field.draws) / looked_at - 1)]) {
            sources.push_back({.x_px = star.x_px, .y_px = star.y_px, .is_star = true, .flux_e = std::exp(star.ln_flux_e)});
        }
    }
    return out;
}

void Cataloguer::explain(const survey::Frame& frame, const Draws& draws, const Image<float>& diffuse_e, Result& result) const {
    std::optional<survey::Frame> with_diffuse;
    if (diffuse_e.size() > 0) {
        with_diffuse = frame;
        std::ranges::transform(frame.background_e.pixels(), diffuse_e.pixels(), with_diffuse->background_e.pixels().begin(), std::plus<>{});
    }
    const Reconstruction reconstruction{with_diffuse ? *with_diffuse : frame, draws.looked_at};
    set_fit(reconstruction, result.sources, result.field);
    if (!config_.reconstruct) return;
    result.expected = reconstruction.mean();
    if (diffuse_e.size() == 0) return;
    std::ranges::transform(result.expected.pixels(), diffuse_e.pixels(), result.expected.pixels().begin(), std::plus<>{});
}

Cataloguer::Result Cataloguer::catalogue(const survey::Frame& frame) {
    if (frame.band != model_.config.bands.front()) {
        throw DataError(fmt::format("{}: is band '{}', the model reads band '{}'; name another model or band", frame.source, frame.band,
                                    model_.config.bands.front()));
    }
    auto start = Clock::now();
    Result result;
    FrameInput input = prepare(frame, model_.config, device_);
    result.field = describe_field(frame, input.background_e);
    result.timing.prepare_s = lap(start);
    const at::Tensor trunk = trunk_dense(model_.detection, input);
    if (!trunk.isfinite().all().item<bool>()) {
        throw DataError(fmt::format("{}: the network's answer is not finite; check the image's units and background", frame.source));
    }
    result.timing.detect_s = lap(start);
    FieldPrior prior = wanted_prior(model_, config_);
    if (config_.prior.estimate && !by_likelihood_) prior = estimate_prior(model_, config_, frame, input, trunk, prior);
    UnderPrior under{model_, config_, frame, input, trunk, prior, config_.floor, config_.tiles};
    result.timing.candidates_s = lap(start);

    const DrawKey key{static_cast<std::uint64_t>(config_.seed), number_of(frame.id)};
    const SourceReader reader{model_, input, frame.psf, under.shift};
    std::optional<StarField> stars;
    if (by_likelihood_) {
        stars = draw_star_field(frame, under.found.sources, prior, model_.prior, config_, key, model_.config.tile_px);
        prior = stars->prior;
        result.timing.likelihood_s = lap(start);
    }
    const std::vector<Source>& sources = stars ? stars->sources : under.found.sources;
    std::vector<TypeAndShape> kinds(sources.size(), {.p_star = 1, .shape = {}});
    if (!stars) kinds = read_kinds(sources, under.chain.shape(), reader, key);
    for (std::size_t k = 0; k < sources.size(); ++k) {
        result.sources.push_back(to_row(frame, sources[k], kinds[k], {config_.threshold, std::log(model_.prior.flux_max_e)}));
        if (stars && at_end_of_prior(sources[k], model_.prior)) result.sources.back().flags |= catalog::k_flag_above_prior;
    }
    result.field.expected_sources = stars ? stars->expected_sources : under.found.expected_sources;
    // Draws from the likelihood fill what is masked from the prior, too.
    const std::int64_t tile_px = model_.config.tile_px,
                       tiles = stars ? under.chain.shape().rows * under.chain.shape().cols : under.chain.seen_tiles();
    const double density = result.field.expected_sources / area_of(tiles, tile_px);
    record(prior, under.shift, model_.card, density, result.field);
    // What is drawn from the likelihood does not hang on the networks' prior, but on a density that was given.
    if (stars) result.field.prior_flags &= catalog::k_density_outside | (config_.density_given() ? catalog::k_prior_rate_outside : 0u);
    result.timing.classify_s = lap(start);
    if (config_.samples > 0) {
        Draws draws = stars ? sample(frame, *stars) : sample(frame, under.chain, reader, key);
        result.samples = std::move(draws.rows);
        result.timing.samples_s = lap(start);
        if (std::ssize(draws.looked_at) >= Reconstruction::k_least_draws) {
            explain(frame, draws, stars ? stars->diffuse_e : Image<float>{}, result);
            result.timing.reconstruct_s = lap(start);
        }
    }
    result.tiles = std::move(under.found.tiles);
    catalog::sort_by_sky(result.sources);
    warn_outside_training(model_.card, result.field, density, by_likelihood_, frame.source);
    return result;
}

}  // namespace bliss::inference
