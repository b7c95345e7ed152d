#pragma once

#include "bliss/evaluation/metrics.hpp"

#include <string>

namespace bliss::evaluation {

/// The scores as text: a table by magnitude, then summary and calibration.
[[nodiscard]] std::string to_text(const Evaluation& evaluation);

/// The same as JSON, indented; a ratio without a denominator is null.
[[nodiscard]] std::string to_json(const Evaluation& evaluation);

}  // namespace bliss::evaluation
