#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/inference/reconstruction.hpp"
#include "bliss/inference/samples.hpp"
#include "bliss/inference/single_sources.hpp"
#include "bliss/survey/frame.hpp"

#include <vector>

namespace bliss::inference {

/// The row of /fields of a frame, but for what the catalogue itself says.
[[nodiscard]] catalog::FieldRow describe_field(const survey::Frame& frame, double background_e);

/// Whether a place is beyond the frame: tiles may reach over its edge, and stars outside shine into it; what lies there is another field's.
[[nodiscard]] bool off_frame(const survey::Frame& frame, double x_px, double y_px);

/// What a source's flags hang on.
struct FlagLimits {
    double threshold = 0.5;      ///< p_source from which it is in the mode catalogue
    double ln_flux_max_e = 0;    ///< ln of the brightest flux of the model's prior
};

/// The row of /catalog of a source; its fit is not known yet.
[[nodiscard]] catalog::SourceRow to_row(const survey::Frame& frame, const Source& source, const TypeAndShape& kind,
                                        const FlagLimits& limits);

/// The row of /samples of a drawn source. @param light of a galaxy
[[nodiscard]] catalog::SampleRow to_row(const survey::Frame& frame, const SampledSource& source, const simulator::GalaxyLight& light);

/// Puts into the rows how well the posterior explains the image.
void set_fit(const Reconstruction& reconstruction, std::vector<catalog::SourceRow>& sources, catalog::FieldRow& field);

}  // namespace bliss::inference
