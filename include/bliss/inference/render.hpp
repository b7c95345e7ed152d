#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/survey/frame.hpp"

#include <filesystem>
#include <span>

namespace bliss::inference {

struct RenderOptions {
    double threshold = 0.5;                      ///< least p_source drawn
    double galaxy_size_arcsec = 0.65;            ///< half-light radius of a galaxy at the reference flux, see render_model
    double galaxy_size_reference_flux_e = 1560;
    double galaxy_size_flux_exponent = 0.3;
    double arcsec_per_px = 0.396;
};

/// Expected electrons without background: the catalogue's sources, each as the more probable type. The catalogue holds no
/// galaxy shapes, so a galaxy is drawn round, half disk and half bulge, with the prior's median size at its flux.
[[nodiscard]] Image<float> render_model(std::span<const catalog::SourceRow> sources, const survey::Frame& frame,
                                        const RenderOptions& options);

/// (x - background - model) / sqrt(background + model); 0 where a pixel is not valid.
[[nodiscard]] Image<float> residual_sigma(const survey::Frame& frame, const Image<float>& model);

/// Writes model.fits (electrons, with the frame's WCS), residual.fits (sigmas) and residual.png (data, model and residual side
/// by side, at half resolution) into a folder. @throws IoError, FitsError.
void write_render(const std::filesystem::path& folder, const survey::Frame& frame, const Image<float>& model);

}  // namespace bliss::inference
