#pragma once

#include "bliss/simulator/frames.hpp"
#include "bliss/survey/wcs.hpp"

#include <filesystem>
#include <span>

namespace bliss::simulator {

/// Writes the table TRUTH: all sources whose centre lies on the frame.
/// @param wcs to give places on the sky, too, or null
/// @param ids of the sources, equal in all frames that see one, or empty
/// @throws FitsError
void write_truth(const std::filesystem::path& path, const FramesConfig& config, const ImageTruth& truth, double electrons_per_nmgy,
                 const survey::Wcs* wcs = nullptr, std::span<const std::int64_t> ids = {});

/// The rate (labelled sources per tile) that frames of a configuration are best catalogued with; 0, the density that they show, for fields
/// of stars alone.
[[nodiscard]] double catalogued_rate(const FramesConfig& config);

}  // namespace bliss::simulator
