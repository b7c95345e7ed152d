#include "bliss/inference/config.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

namespace bliss::inference {

void describe(ConfigVisitor& visitor, SurveyConfig& config) {
    visitor.choice("kind", config.kind, "whose files these are",
                   {Choice<SurveyKind>{"sdss", SurveyKind::sdss}, Choice<SurveyKind>{"generic", SurveyKind::generic}});
    visitor.field("folder", config.folder, "sdss: folder of the frame, psField, photoField and fpM files");
    visitor.field("fields", config.fields, "sdss: RUN-CAMCOL-FIELD, ...");
    visitor.field("band", config.band, "sdss: u g r i or z");
    visitor.field("images", config.images, "generic: one TOML file an image");
}

void describe(ConfigVisitor& visitor, CatalogConfig& config) {
    visitor.field("model", config.model, "model file");
    visitor.field("threshold", config.threshold, "p_source from which a source is in the mode catalogue", k_unit_interval);
    visitor.field("floor", config.floor, "p_source down to which candidates are written", Range{0.001, 1});
    visitor.field("sources_per_tile", config.sources_per_tile,
                  "prior rate of the survey per 4x4-pixel tile, sources above the model's limit; 0: as trained", k_not_negative);
    encoder::describe_precision(visitor, config.precision);
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
    if (config.survey.kind == SurveyKind::sdss && config.survey.fields.empty()) {
        throw ConfigError("survey.fields is empty: name fields as RUN-CAMCOL-FIELD, for example [\"94-1-12\"]");
    }
    if (config.survey.kind == SurveyKind::generic && config.survey.images.empty()) {
        throw ConfigError("survey.images is empty: name one TOML file an image");
    }
}

}  // namespace bliss::inference
