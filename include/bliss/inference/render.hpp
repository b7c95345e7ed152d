#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/simulator/prior.hpp"
#include "bliss/survey/frame.hpp"

#include <filesystem>
#include <span>

namespace bliss::inference {

struct RenderOptions {
    double threshold = 0.5;                      ///< least p_source drawn
    simulator::PriorConfig prior{};              ///< gives a galaxy its median size where the catalogue has none
};

/// Expected electrons of sources, without background (H, W).
[[nodiscard]] Image<float> render_sources(std::span<const simulator::Source> sources, const survey::Frame& frame);

/// Expected electrons without background: the catalogue's sources, each as the more probable type, galaxies by their half-light
/// radius, axis ratio and angle.
[[nodiscard]] Image<float> render_model(std::span<const catalog::SourceRow> sources, const survey::Frame& frame,
                                        const RenderOptions& options);

/// (x - background - model) / sqrt(background + model); 0 where a pixel is not valid.
[[nodiscard]] Image<float> residual_sigma(const survey::Frame& frame, const Image<float>& model);

/// Writes model.fits (electrons, with the frame's WCS), residual.fits (sigmas) and residual.png (data, model and residual side
/// by side, at half resolution) into a folder. @throws IoError, FitsError.
void write_render(const std::filesystem::path& folder, const survey::Frame& frame, const Image<float>& model);

}  // namespace bliss::inference
