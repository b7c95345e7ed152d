#pragma once

#include "bliss/core/config.hpp"
#include "bliss/encoder/device.hpp"
#include "bliss/encoder/precision.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace bliss::inference {

enum class SurveyKind { sdss, generic };

/// Which images are catalogued.
struct SurveyConfig {
    SurveyKind kind = SurveyKind::sdss;
    std::string folder{};               ///< SDSS: where the files are (relative paths: to the configuration file), see survey::SdssTree
    std::string rerun = "301";        ///< SDSS: of the archive's folders
    std::vector<std::string> fields{};  ///< SDSS: "94-1-12", "94-1-11:40", "94-*-*", ...; generic: those of the images that are taken
    std::string list{};                 ///< SDSS: file with a name of fields a line
    std::string band = "r";
    std::vector<std::string> images{};  ///< generic: one TOML file an image, or with `common` the images; may hold wildcards
    std::string common{};               ///< generic: TOML file that holds for all images
};

/// What is believed of a field's sources before its image is seen. 0: as the model was trained.
struct PriorSettings {
    double star_fraction = 0;   ///< share of stars among sources above the model's limit
    double star_alpha = 0;      ///< Pareto exponents of fluxes
    double galaxy_alpha = 0;
    bool estimate = false;      ///< from the field itself, beginning with these
};

/// How fields are drawn from the likelihood itself, by models that were trained on stars alone (crowded fields).
struct StarSettings {
    bool likelihood = true;        ///< else the networks' own posterior is the catalogue
    std::int64_t burn_in = 200;    ///< sweeps of Metropolis-Hastings steps before the first draw
    std::int64_t draws = 64;       ///< that the catalogue is made of
    std::int64_t thin = 6;         ///< sweeps from one draw to the next
};

/// A run of `bliss-mpi catalog`.
struct CatalogConfig {
    std::string model;                 ///< model file (relative paths: to the configuration file)
    double threshold = 0.5;            ///< p_source from which a source is in the mode catalogue
    double floor = 0.05;               ///< p_source down to which candidates are written
    std::int64_t samples = 0;          ///< K, joint draws from each field's posterior
    std::int64_t seed = 1;             ///< of the draws
    bool reconstruct = false;          ///< images of what the posterior expects are written beside the catalogue; a field whose
                                       ///< images cannot be written has failed
    bool tiles = false;                ///< each tile's posterior over its count, to /tiles
    bool independent_tiles = false;    ///< tiles are told nothing of each other: for comparison
    double sources_per_tile = 0;       ///< prior rate of the survey, sources above the model's limit; 0: the model's own
    encoder::DeviceChoice device = encoder::DeviceChoice::automatic;
    encoder::Precision precision = encoder::Precision::automatic;
    PriorSettings prior;
    StarSettings stars;
    SurveyConfig survey;

    /// Whether the density of a field drawn from the likelihood is fixed; else it is drawn with the stars.
    [[nodiscard]] bool density_given() const { return sources_per_tile > 0 && !prior.estimate; }
};

void describe(ConfigVisitor& visitor, CatalogConfig& config);

/// @throws ConfigError.
void check_catalog(const CatalogConfig& config);

}  // namespace bliss::inference
