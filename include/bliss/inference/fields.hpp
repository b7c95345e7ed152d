#pragma once

#include "bliss/inference/config.hpp"
#include "bliss/survey/frame.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace bliss::inference {

/// One field of a survey, still to be read.
struct FieldSource {
    FieldId id;
    std::string band;                 ///< empty where only the image's own configuration knows
    std::filesystem::path path;       ///< SDSS: the folder; generic: the image's TOML file
};

/// The fields a configuration names, sorted by identity, none twice.
/// @throws ConfigError for a field that cannot be parsed or is named twice.
[[nodiscard]] std::vector<FieldSource> list_fields(const SurveyConfig& config, const std::filesystem::path& config_folder);

/// Reads one field's frame. @throws DataError, FitsError, ConfigError.
[[nodiscard]] survey::Frame read_field(const SurveyConfig& config, const FieldSource& field);

/// `path` taken from `folder` unless it is absolute.
[[nodiscard]] std::filesystem::path resolve(const std::filesystem::path& folder, const std::filesystem::path& path);

}  // namespace bliss::inference
