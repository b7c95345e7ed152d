#pragma once

#include "bliss/core/config.hpp"
#include "bliss/encoder/precision.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace bliss::inference {

enum class SurveyKind { sdss, generic };

/// Which images are catalogued.
struct SurveyConfig {
    SurveyKind kind = SurveyKind::sdss;
    std::string folder;                ///< SDSS: where the files are (relative paths: to the configuration file)
    std::vector<std::string> fields;   ///< SDSS: "94-1-12", ...
    std::string band = "r";
    std::vector<std::string> images;   ///< generic: one TOML file an image
};

/// A run of `bliss-mpi catalog`.
struct CatalogConfig {
    std::string model;                 ///< model file (relative paths: to the configuration file)
    double threshold = 0.5;            ///< p_source from which a source is in the mode catalogue
    double floor = 0.05;               ///< p_source down to which candidates are written
    double sources_per_tile = 0;       ///< prior rate of the survey, sources above the model's limit; 0: the model's own
    encoder::Precision precision = encoder::Precision::automatic;
    SurveyConfig survey;
};

void describe(ConfigVisitor& visitor, CatalogConfig& config);

/// @throws ConfigError.
void check_catalog(const CatalogConfig& config);

}  // namespace bliss::inference
