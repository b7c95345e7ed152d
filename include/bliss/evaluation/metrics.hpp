#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/evaluation/calibration.hpp"
#include "bliss/evaluation/drawn_counts.hpp"
#include "bliss/evaluation/truth.hpp"

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace bliss::evaluation {

/// How detections are compared with the truth.
struct EvaluationOptions {
    double min_p_source = 0.5;  ///< detections kept; calibration uses all, but these are matched first
    double match_limit_px = 1;  ///< in x and y
    double match_limit_mag = std::numeric_limits<double>::infinity();  ///< magnitudes of a match are no farther apart
    /// For calibration: wider, so that the probability is judged and not the position, and errors are not cut off. Labelled
    /// truth alone counts.
    double calibration_limit_px = 2;
    double border_px = 24;  ///< what lies nearer to the frame's edge is not counted
    double first_mag = 17;
    double last_mag = 23;
    double mag_step = 1;
    double bright_mag = 21;  ///< limit of the "brighter than" summary
    double box_px = 20;      ///< side of the boxes that joint draws are counted in
};

/// One field's detections and truth.
struct FieldPair {
    std::span<const catalog::SourceRow> detections = {};
    std::span<const TruthSource> truth = {};
    std::int64_t height_px = 0;
    std::int64_t width_px = 0;
    std::span<const catalog::SampleRow> samples = {};   ///< joint draws, if there are any
    std::int64_t draws = 0;                             ///< how many: trailing ones may be empty
};

/// Counts and errors of the sources in one interval of magnitude. Ratios are NaN where they have no denominator.
struct MagnitudeBin {
    double low_mag = 0;
    double high_mag = 0;
    std::int64_t truth = 0;            ///< labelled sources, by true magnitude
    std::int64_t true_positives = 0;   ///< of these, matched by a kept detection
    std::int64_t false_positives = 0;  ///< kept detections that match nothing, by their own magnitude
    std::int64_t typed = 0;            ///< matched, of known type
    std::int64_t typed_right = 0;
    double mag_offset = 0;           ///< median of ours minus true
    double mag_scatter = 0;          ///< 1.48 median absolute deviation of that
    double position_scatter_px = 0;  ///< the same of x and y errors, pooled

    [[nodiscard]] double precision() const;
    [[nodiscard]] double recall() const;
    [[nodiscard]] double f1() const;
    [[nodiscard]] double type_accuracy() const;
};

/// Sources brighter than a limit, each side by its own magnitude, matched with everything on the other side.
struct BrightSummary {
    double limit_mag = 0;
    std::int64_t truth = 0;            ///< labelled
    std::int64_t truth_found = 0;      ///< matched by a kept detection of any magnitude
    std::int64_t detections = 0;       ///< kept
    std::int64_t detections_true = 0;  ///< matching a true source of any magnitude, labelled or not
    std::int64_t detections_labelled = 0;  ///< matching a labelled one: the stricter count

    [[nodiscard]] double recall() const;
    [[nodiscard]] double precision() const;
    [[nodiscard]] double strict_precision() const;  ///< against labelled sources alone
};

struct Evaluation {
    EvaluationOptions options;
    std::int64_t fields = 0;
    std::vector<MagnitudeBin> bins;
    MagnitudeBin all;  ///< first_mag to last_mag
    BrightSummary bright;

    std::int64_t kept = 0;          ///< kept detections of any magnitude
    double expected_precision = 0;  ///< mean p_source of the kept detections
    double found_precision = 0;     ///< share of them that is there

    std::int64_t candidates = 0;  ///< detections down to the catalogue's floor
    std::vector<ReliabilityBin> reliability;
    double calibration_error = 0;
    Coverage x;
    Coverage y;
    Coverage ln_flux;  ///< the three over kept detections that are there
    std::int64_t typed = 0;             ///< of these, those whose type is known
    double type_calibration_error = 0;  ///< of their p_star
    Coverage half_light_radius;
    Coverage axis_ratio;  ///< the two over those that are galaxies of known shape

    DrawnCounts counts;     ///< of joint draws
};

/// Compares detections with truth, pooled over fields.
///
/// Matching is one to one by assignment, first with labelled truth, then what is left with the rest. Magnitude bins count a
/// match by the true magnitude and a false positive by its own. A match counts when the true position counts.
/// @source Hansen et al. 2022, section 4 (table 1).
[[nodiscard]] Evaluation evaluate(std::span<const FieldPair> fields, const EvaluationOptions& options);

}  // namespace bliss::evaluation
