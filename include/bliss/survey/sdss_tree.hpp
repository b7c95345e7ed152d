#pragma once

#include "bliss/core/ids.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bliss::survey {

/// The files of SDSS fields under a folder, names as SDSS writes them: all in it; or in FOLDER/RUN or FOLDER/RUN/CAMCOL; or as the survey's
/// archive keeps them, FOLDER being its "boss": photoObj/frames/RERUN/RUN/CAMCOL (frames), photoObj/RERUN/RUN (photoField) and
/// photo/redux/RERUN/RUN/objcs/CAMCOL (psField, fpM). Files may be compressed with bzip2 or gzip.
/// @source SDSS data model, BOSS_PHOTOOBJ and PHOTO_REDUX.
class SdssTree {
public:
    explicit SdssTree(std::filesystem::path folder, std::string rerun = "301") : folder_{std::move(folder)}, rerun_{std::move(rerun)} {}

    /// The path of a field's file where it is there; else the first place that was looked at.
    [[nodiscard]] std::filesystem::path frame(const FieldId& id, const std::string& band) const;
    [[nodiscard]] std::filesystem::path psf(const FieldId& id) const;                            ///< psField
    [[nodiscard]] std::filesystem::path detector(const FieldId& id) const;                       ///< photoField
    [[nodiscard]] std::filesystem::path mask(const FieldId& id, const std::string& band) const;  ///< fpM

    /// Fields that have a frame in the band and match one of the patterns, sorted. @throws DataError for a folder that cannot be read
    [[nodiscard]] std::vector<FieldId> fields(const std::string& band, std::span<const FieldPattern> patterns) const;

private:
    [[nodiscard]] std::filesystem::path find(const FieldId& id, const std::filesystem::path& archive, const std::string& name) const;

    std::filesystem::path folder_;
    std::string rerun_;
};

}  // namespace bliss::survey
