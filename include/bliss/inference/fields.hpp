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
    std::string band;                  ///< empty where only the image's own configuration knows
    std::filesystem::path path;        ///< SDSS: the folder; generic: the image's TOML file, or with `settings` the image
    std::filesystem::path settings{};  ///< generic: TOML file of all images
};

/// The fields of a survey, sorted by identity, none twice: of SDSS twelve bytes each, so that a survey's million is no matter.
class FieldList {
public:
    FieldList() = default;
    /// SDSS fields, under a folder.
    FieldList(std::vector<FieldId> ids, FieldSource common) : ids_{std::move(ids)}, common_{std::move(common)} {}
    /// Images of these numbers, under these paths.
    FieldList(std::vector<FieldId> ids, FieldSource common, std::vector<std::string> paths)
        : ids_{std::move(ids)}, common_{std::move(common)}, paths_{std::move(paths)} {}

    [[nodiscard]] std::int64_t size() const { return std::ssize(ids_); }
    [[nodiscard]] const FieldId& id(std::int64_t k) const { return ids_[static_cast<std::size_t>(k)]; }
    [[nodiscard]] const std::vector<FieldId>& ids() const { return ids_; }
    [[nodiscard]] FieldSource operator[](std::int64_t k) const;

    /// What the fields' numbers mean, as a hash: of images, which are numbered as they come, their paths from `folder`, and what
    /// the file that is common to them says; of SDSS nothing.
    [[nodiscard]] std::string meaning(const std::filesystem::path& folder) const;

private:
    std::vector<FieldId> ids_;
    FieldSource common_;              ///< what all have in common
    std::vector<std::string> paths_;  ///< of images
};

/// The fields a configuration names. Names with ranges or wildcards stand for what is there; fields named one by one need not be.
/// @throws ConfigError for a name that cannot be parsed, is given twice or stands for nothing; DataError for a folder that cannot be read.
[[nodiscard]] FieldList list_fields(const SurveyConfig& config, const std::filesystem::path& config_folder);

/// Reads one field's frame. @throws DataError, FitsError, ConfigError.
[[nodiscard]] survey::Frame read_field(const SurveyConfig& config, const FieldSource& field);

/// `path` taken from `folder` unless it is absolute.
[[nodiscard]] std::filesystem::path resolve(const std::filesystem::path& folder, const std::filesystem::path& path);

}  // namespace bliss::inference
