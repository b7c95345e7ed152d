#include "bliss/simulator/prior.hpp"

#include "bliss/core/check.hpp"
#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::simulator {
namespace {

constexpr double k_axis_ratio_min = 0.05;

// The disk's half-light radius along its major axis, arcsec. @source the reference implementation's galaxy
// prior: Gamma shape, scale and offset.
double gamma_size_arcsec(RandomStream& random) { return 4.432725 * random.gamma(0.39330758) + 0.837189; }

double axis_ratio(RandomStream& random) { return std::max(k_axis_ratio_min, random.uniform()); }

/// Law "gamma" has no size that goes with a flux.
constexpr double k_gamma_unit_arcsec = 2;

}  // namespace

void describe(ConfigVisitor& visitor, PriorConfig& config) {
    visitor.field("star_fraction", config.star_fraction, "share of stars among all sources (xi of equation 3)", k_unit_interval);
    visitor.field("flux_min_e", config.flux_min_e, "faintest simulated source, electrons (f_min of equation 4)", k_positive);
    visitor.field("flux_max_e", config.flux_max_e, "brightest simulated source, electrons", k_positive);
    visitor.field("label_flux_min_e", config.label_flux_min_e,
                  "faintest source that is reported, electrons; fainter ones are nuisance", k_positive);
    visitor.field("star_alpha", config.star_alpha, "Pareto exponent of star fluxes", k_positive);
    visitor.field("galaxy_alpha", config.galaxy_alpha, "Pareto exponent of galaxy fluxes", k_positive);
    visitor.choice("galaxies", config.galaxies,
                   "what galaxies look like: exponential disk + de Vaucouleurs bulge, or a galaxy VAE's decoder",
                   {Choice<GalaxyModel>{"bulge_disk", GalaxyModel::bulge_disk}, Choice<GalaxyModel>{"learnt", GalaxyModel::learnt}});
    visitor.choice("size_law", config.size_law, "half-light radii: log-normal about a power of the flux, or the paper's Gamma",
                   {Choice<SizeLaw>{"flux", SizeLaw::flux}, Choice<SizeLaw>{"gamma", SizeLaw::gamma}});
    visitor.field("size_at_reference_arcsec", config.size_at_reference_arcsec,
                  "law 'flux': median half-light radius along the major axis at the reference flux, arcsec", k_positive);
    visitor.field("size_reference_flux_e", config.size_reference_flux_e, "law 'flux': reference flux, electrons", k_positive);
    visitor.field("size_flux_exponent", config.size_flux_exponent, "law 'flux': radius ~ flux to this power");
    visitor.field("size_ln_scatter", config.size_ln_scatter, "law 'flux': standard deviation of ln radius", k_not_negative);
    visitor.field("bulge_to_disk_size", config.bulge_to_disk_size, "law 'gamma': bulge scale and offset against the disk's",
                  k_positive);
    visitor.field("arcsec_per_px", config.arcsec_per_px, "pixel scale, arcsec", k_positive);
}

void check_prior(const PriorConfig& config) {
    if (!(config.flux_min_e <= config.label_flux_min_e && config.label_flux_min_e < config.flux_max_e)) {
        throw ConfigError(fmt::format("prior: flux_min_e ({}), label_flux_min_e ({}) and flux_max_e ({}) must be in this order",
                                      config.flux_min_e, config.label_flux_min_e, config.flux_max_e));
    }
}

double pareto_quantile(double u, double flux_min, double flux_max, double alpha) {
    const double low = std::pow(flux_min, -alpha);
    const double high = std::pow(flux_max, -alpha);
    return std::pow(low - u * (low - high), -1 / alpha);
}

double pareto_share_above(double flux, double flux_min, double flux_max, double alpha) {
    const double clipped = std::clamp(flux, flux_min, flux_max);
    const double high = std::pow(flux_max, -alpha);
    return (std::pow(clipped, -alpha) - high) / (std::pow(flux_min, -alpha) - high);
}

double flux_latent(const PriorConfig& config, double flux_e) {
    // The brighter galaxies' share is the normal's upper tail; bisection keeps its digits where it is tiny.
    const double above = pareto_share_above(flux_e, config.flux_min_e, config.flux_max_e, config.galaxy_alpha);
    double low = -6, high = 6;
    for (int i = 0; i < 40; ++i) {
        const double middle = 0.5 * (low + high);
        (0.5 * std::erfc(middle / std::numbers::sqrt2) > above ? low : high) = middle;
    }
    return 0.5 * (low + high);
}

double labelled_share(const PriorConfig& config) {
    const auto share = [&](double alpha) {
        return pareto_share_above(config.label_flux_min_e, config.flux_min_e, config.flux_max_e, alpha);
    };
    return config.star_fraction * share(config.star_alpha) + (1 - config.star_fraction) * share(config.galaxy_alpha);
}

double size_unit_px(const PriorConfig& config, double flux_e) {
    if (config.size_law == SizeLaw::gamma) return k_gamma_unit_arcsec / config.arcsec_per_px;
    return config.size_at_reference_arcsec / config.arcsec_per_px *
           std::pow(flux_e / config.size_reference_flux_e, config.size_flux_exponent);
}

GalaxyShape draw_shape(const PriorConfig& config, RandomStream& random) {
    GalaxyShape shape;
    shape.disk_fraction = random.uniform();
    shape.angle_rad = random.uniform(0, 2 * std::numbers::pi);
    shape.disk_axis_ratio = axis_ratio(random);
    shape.bulge_axis_ratio = axis_ratio(random);
    if (config.size_law == SizeLaw::gamma) {
        shape.disk_major_px = gamma_size_arcsec(random) / k_gamma_unit_arcsec;
        shape.bulge_major_px = config.bulge_to_disk_size * gamma_size_arcsec(random) / k_gamma_unit_arcsec;
    } else {
        shape.disk_major_px = std::exp(config.size_ln_scatter * random.normal());
        shape.bulge_major_px = std::exp(config.size_ln_scatter * random.normal());
    }
    return shape;
}

GalaxyShape median_shape(const PriorConfig& config, double flux_e) {
    const double radius_px = size_unit_px(config, flux_e);
    return {.disk_fraction = 0.5, .disk_major_px = radius_px, .bulge_major_px = radius_px};
}

namespace {

/// A source without its place, and without the light of a learnt galaxy.
Source draw_unlit(const PriorConfig& config, const GalaxyDecoder* decoder, RandomStream& random) {
    Source source;
    source.is_star = random.uniform() < config.star_fraction;
    const auto flux = [&](double u, double alpha) { return pareto_quantile(u, config.flux_min_e, config.flux_max_e, alpha); };
    if (source.is_star) {
        source.flux_e = flux(random.uniform(), config.star_alpha);
    } else if (config.galaxies == GalaxyModel::bulge_disk) {
        source.flux_e = flux(random.uniform(), config.galaxy_alpha);
        source.light = scaled(light_of(draw_shape(config, random)), size_unit_px(config, source.flux_e));
    } else {
        BLISS_EXPECT(decoder != nullptr, "learnt galaxies come with their decoder");
        source.latents.resize(decoder->latents());
        for (float& latent : source.latents) latent = static_cast<float>(random.normal());
        source.flux_e = flux(0.5 * std::erfc(-source.latents[0] / std::numbers::sqrt2), config.galaxy_alpha);
    }
    return source;
}

}  // namespace

void light_up(const PriorConfig& config, const GalaxyDecoder& decoder, std::span<Source> sources) {
    std::vector<float> latents;
    std::vector<Source*> galaxies;
    for (Source& source : sources) {
        if (source.latents.empty()) continue;
        galaxies.push_back(&source);
        latents.insert(latents.end(), source.latents.begin() + 1, source.latents.end());
    }
    std::vector<GalaxyLight> lights(galaxies.size());
    decoder.lights(latents, lights);
    for (std::size_t k = 0; k < galaxies.size(); ++k) {
        galaxies[k]->light = scaled(std::move(lights[k]), size_unit_px(config, galaxies[k]->flux_e));
    }
}

Source draw_mark(const PriorConfig& config, const GalaxyDecoder* decoder, RandomStream& random) {
    Source source = draw_unlit(config, decoder, random);
    if (decoder) light_up(config, *decoder, std::span{&source, 1});
    return source;
}

std::vector<Source> draw_catalog(const PriorConfig& config, const GalaxyDecoder* decoder, double labelled_rate_per_px, const Area& area,
                                 RandomStream& random) {
    const double mean = labelled_rate_per_px * area.width * area.height / labelled_share(config);
    std::vector<Source> sources(static_cast<std::size_t>(random.poisson(mean)));
    for (Source& source : sources) {
        source = draw_unlit(config, decoder, random);
        source.x_px = area.x_low + area.width * random.uniform();
        source.y_px = area.y_low + area.height * random.uniform();
    }
    if (decoder) light_up(config, *decoder, sources);
    std::stable_sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) { return a.flux_e > b.flux_e; });
    return sources;
}

}  // namespace bliss::simulator
