#include "bliss/inference/config.hpp"

#include "bliss/core/error.hpp"
#include "bliss/inference/reconstruction.hpp"

#include <fmt/format.h>

namespace bliss::inference {
namespace {

/// All draws of a field are held in memory.
constexpr double k_most_samples = 4096;
/// One a pixel.
constexpr double k_most_sources_per_tile = 16;

}  // namespace

void describe(ConfigVisitor& visitor, SurveyConfig& config) {
    visitor.choice("kind", config.kind, "whose files these are",
                   {Choice<SurveyKind>{"sdss", SurveyKind::sdss}, Choice<SurveyKind>{"generic", SurveyKind::generic}});
    visitor.field("folder", config.folder,
                  "sdss: folder of the frame, psField, photoField and fpM files, or of the survey's archive (boss)");
    visitor.field("rerun", config.rerun, "sdss: rerun in the archive's folders");
    visitor.field("fields", config.fields, "sdss: RUN-CAMCOL-FIELD, ...; each a number, a range (11:40), or * for all that have a frame");
    visitor.field("list", config.list, "sdss: text file with one such name a line; # begins a comment");
    visitor.field("band", config.band, "sdss: u g r i or z");
    visitor.field("images", config.images, "generic: one TOML file an image, or with common the FITS images; * and ? are wildcards");
    visitor.field("common", config.common, "generic: TOML file that says of all images what their headers do not");
}

void describe(ConfigVisitor& visitor, PriorSettings& config) {
    visitor.field("star_fraction", config.star_fraction, "share of stars among sources above the model's limit; 0: as trained",
                  Range{0, 0.999});
    visitor.field("star_alpha", config.star_alpha, "Pareto exponent of star fluxes; 0: as trained (crowded fields: drawn with the stars)",
                  Range{0, 10});
    visitor.field("galaxy_alpha", config.galaxy_alpha, "Pareto exponent of galaxy fluxes; 0: as trained", Range{0, 10});
    visitor.field("estimate", config.estimate,
                  "source rate, share of stars and exponents are estimated from each field, beginning with these (empirical Bayes)");
}

void describe(ConfigVisitor& visitor, StarSettings& config) {
    visitor.field("likelihood", config.likelihood,
                  "models of stars alone: draw the field from the likelihood itself, beginning with what the network finds");
    visitor.field("burn_in", config.burn_in, "sweeps of Metropolis-Hastings steps before the first draw", Range{0, 1e5});
    visitor.field("draws", config.draws, "draws that the catalogue is made of", Range{8, k_most_samples});
    visitor.field("thin", config.thin, "sweeps from one draw to the next", Range{1, 1000});
}

void describe(ConfigVisitor& visitor, CatalogConfig& config) {
    visitor.field("model", config.model, "model file");
    visitor.field("threshold", config.threshold, "p_source from which a source is in the mode catalogue", k_unit_interval);
    visitor.field("floor", config.floor,
                  "p_source down to which candidates are written; further ones of a tile only where its likely count has them",
                  Range{0.001, 1});
    visitor.field("samples", config.samples,
                  "joint draws from each field's posterior, written to /samples (K); from 8 on with goodness of fit",
                  Range{0, k_most_samples});
    visitor.field("seed", config.seed, "of the draws", k_not_negative);
    visitor.field("reconstruct", config.reconstruct,
                  "write each field's posterior mean image and residual to reconstruction/ beside the catalogue");
    visitor.field("tiles", config.tiles, "write each tile's posterior over its number of sources to /tiles (6 MB for an SDSS field)");
    visitor.field("independent_tiles", config.independent_tiles,
                  "tiles are told nothing of each other, for comparison: sources on borders suffer");
    visitor.field("sources_per_tile", config.sources_per_tile,
                  "prior rate of the survey per 4x4-pixel tile, sources above the model's limit; 0: as trained (crowded fields: drawn with "
                  "the stars; a rate given there fixes the density of all fluxes at the exponent given, or trained)",
                  Range{0, k_most_sources_per_tile});
    encoder::describe_device(visitor, config.device);
    encoder::describe_precision(visitor, config.precision);
    visitor.section("prior", config.prior);
    visitor.section("stars", config.stars);
    visitor.section("survey", config.survey);
}

void check_catalog(const CatalogConfig& config) {
    if (config.model.empty())
        throw ConfigError(
            "model: name a model file, for example configs/models/sdss-r.safetensors; relative paths start from the configuration's "
            "folder");
    if (config.threshold < config.floor) {
        throw ConfigError(fmt::format("threshold ({}) is below floor ({}): sources would be missing; lower the floor",
                                      config.threshold, config.floor));
    }
    if (config.reconstruct && config.samples < Reconstruction::k_least_draws) {
        throw ConfigError(
            fmt::format("reconstruct: what the posterior expects is a mean over joint draws; ask for at least {}, for example with "
                        "--samples 32",
                        Reconstruction::k_least_draws));
    }
    if (config.survey.kind == SurveyKind::sdss && config.survey.fields.empty() && config.survey.list.empty()) {
        throw ConfigError(
            "survey.fields is empty: name fields as RUN-CAMCOL-FIELD, for example [\"94-1-12\"] or [\"94-*-*\"], or a survey.list");
    }
    if (config.survey.kind == SurveyKind::generic && config.survey.images.empty()) {
        throw ConfigError("survey.images is empty: name one TOML file an image");
    }
}

}  // namespace bliss::inference
