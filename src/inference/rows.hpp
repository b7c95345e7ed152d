#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/inference/samples.hpp"
#include "bliss/inference/single_sources.hpp"
#include "bliss/survey/frame.hpp"

namespace bliss::inference {

/// The row of /fields of a frame, but for what the catalogue itself says.
[[nodiscard]] catalog::FieldRow describe_field(const survey::Frame& frame);

/// Whether a place is beyond the frame: the last rows and columns of tiles reach over its edge; what lies there is another field's.
[[nodiscard]] bool off_frame(const survey::Frame& frame, double x_px, double y_px);

/// The row of /catalog of a source.
[[nodiscard]] catalog::SourceRow to_row(const survey::Frame& frame, const Source& source, const TypeAndShape& kind, double threshold);

/// The row of /samples of a drawn source.
[[nodiscard]] catalog::SampleRow to_row(const survey::Frame& frame, const SampledSource& source, const SourceReader& reader);

}  // namespace bliss::inference
