#include "bliss/evaluation/metrics.hpp"

#include "bliss/catalog/matching.hpp"
#include "bliss/core/statistics.hpp"
#include "statistics.hpp"

#include <cmath>
#include <limits>

namespace bliss::evaluation {

using detail::ratio;

double MagnitudeBin::precision() const {
    return ratio(static_cast<double>(true_positives), static_cast<double>(true_positives + false_positives));
}
double MagnitudeBin::recall() const { return ratio(static_cast<double>(true_positives), static_cast<double>(truth)); }
double MagnitudeBin::f1() const {
    return ratio(2.0 * static_cast<double>(true_positives), static_cast<double>(true_positives + false_positives + truth));
}
double MagnitudeBin::type_accuracy() const { return ratio(static_cast<double>(typed_right), static_cast<double>(typed)); }

double BrightSummary::recall() const { return ratio(static_cast<double>(truth_found), static_cast<double>(truth)); }
double BrightSummary::precision() const {
    return ratio(static_cast<double>(detections_true), static_cast<double>(detections));
}

double BrightSummary::strict_precision() const {
    return ratio(static_cast<double>(detections_labelled), static_cast<double>(detections));
}

namespace {

using survey::PixelPosition;
constexpr std::size_t k_none = std::numeric_limits<std::size_t>::max();

/// For each detection the true source it is matched with, or k_none.
using Matches = std::vector<std::size_t>;

/// How far the two sides of a match may be apart.
struct MatchLimits {
    double px = 1;
    double mag = std::numeric_limits<double>::infinity();
};

/// Matches the detections chosen, one to one, with the true sources chosen; leaves earlier matches of `matches`, on both sides, alone.
template <class UseDetection, class UseTruth>
void match_more(Matches& matches, const FieldPair& pair, const MatchLimits& limits, UseDetection&& use_detection,
                UseTruth&& use_truth) {
    std::vector<PixelPosition> ours, theirs;
    std::vector<std::size_t> our_index, their_index;
    for (std::size_t i = 0; i < pair.detections.size(); ++i) {
        if (matches[i] != k_none || !use_detection(pair.detections[i])) continue;
        ours.push_back({pair.detections[i].x_px, pair.detections[i].y_px});
        our_index.push_back(i);
    }
    std::vector<char> taken(pair.truth.size(), 0);
    for (const std::size_t match : matches) {
        if (match != k_none) taken[match] = 1;
    }
    for (std::size_t j = 0; j < pair.truth.size(); ++j) {
        if (taken[j] || !use_truth(pair.truth[j])) continue;
        theirs.push_back({pair.truth[j].x_px, pair.truth[j].y_px});
        their_index.push_back(j);
    }
    const auto may_match = [&](std::size_t i, std::size_t j) {
        return !std::isfinite(limits.mag) || std::abs(pair.detections[our_index[i]].mag - pair.truth[their_index[j]].mag) <= limits.mag;
    };
    for (const auto& [first, second, distance] : catalog::match_positions(ours, theirs, limits.px, may_match))
        matches[our_index[first]] = their_index[second];
}

/// Whether what lies at a position is counted: off the border.
bool counts(const FieldPair& pair, const EvaluationOptions& options, double x_px, double y_px) {
    return x_px >= options.border_px && x_px <= static_cast<double>(pair.width_px - 1) - options.border_px && y_px >= options.border_px &&
           y_px <= static_cast<double>(pair.height_px - 1) - options.border_px;
}

/// A magnitude bin while it is filled.
struct Tally {
    MagnitudeBin bin;
    std::vector<double> mag_errors, x_errors, y_errors;

    [[nodiscard]] bool holds(double mag) const { return mag >= bin.low_mag && mag < bin.high_mag; }

    void add_match(const catalog::SourceRow& ours, const TruthSource& truth) {
        ++bin.true_positives;
        mag_errors.push_back(ours.mag - truth.mag);
        x_errors.push_back(ours.x_px - truth.x_px);
        y_errors.push_back(ours.y_px - truth.y_px);
        if (truth.kind == TruthKind::unknown) return;
        ++bin.typed;
        bin.typed_right += (ours.p_star >= 0.5) == (truth.kind == TruthKind::star);
    }

    [[nodiscard]] MagnitudeBin finished() {
        bin.mag_offset = median(mag_errors);
        bin.mag_scatter = detail::mad_scatter(mag_errors);
        for (auto* errors : {&x_errors, &y_errors}) {
            const double centre = median(*errors);
            for (double& error : *errors) error -= centre;
        }
        x_errors.insert(x_errors.end(), y_errors.begin(), y_errors.end());
        bin.position_scatter_px = detail::mad_scatter(x_errors);
        return bin;
    }
};

std::vector<Tally> empty_tallies(const EvaluationOptions& options) {
    std::vector<Tally> tallies;
    const auto bins = std::llround((options.last_mag - options.first_mag) / options.mag_step);
    for (std::int64_t i = 0; i < bins; ++i) {
        tallies.emplace_back();
        tallies.back().bin.low_mag = options.first_mag + static_cast<double>(i) * options.mag_step;
        tallies.back().bin.high_mag = options.first_mag + static_cast<double>(i + 1) * options.mag_step;
    }
    tallies.emplace_back();  // all of them together
    tallies.back().bin.low_mag = options.first_mag;
    tallies.back().bin.high_mag = options.last_mag;
    return tallies;
}

class Evaluator {
public:
    explicit Evaluator(const EvaluationOptions& options) : options_{options}, tallies_{empty_tallies(options)} {
        result_.options = options;
        result_.bright.limit_mag = options.bright_mag;
    }

    void add(const FieldPair& pair) {
        ++result_.fields;
        add_detection_scores(pair);
        add_calibration(pair);
    }

    Evaluation finished() {
        for (Tally& tally : tallies_) result_.bins.push_back(tally.finished());
        result_.all = result_.bins.back();
        result_.bins.pop_back();
        result_.expected_precision = ratio(kept_p_, static_cast<double>(result_.kept));
        result_.found_precision = ratio(kept_true_, static_cast<double>(result_.kept));
        result_.candidates = std::ssize(forecasts_);
        result_.reliability = reliability(forecasts_);
        result_.typed = std::ssize(types_);
        result_.type_calibration_error = expected_calibration_error(reliability(types_));
        result_.calibration_error = expected_calibration_error(result_.reliability);
        return result_;
    }

private:
    [[nodiscard]] bool kept(const catalog::SourceRow& ours) const { return ours.p_source >= options_.min_p_source; }

    void add_detection_scores(const FieldPair& pair) {
        const auto use_kept = [&](const catalog::SourceRow& ours) { return kept(ours); };
        Matches matches(pair.detections.size(), k_none);
        const MatchLimits limits{options_.match_limit_px, options_.match_limit_mag};
        match_more(matches, pair, limits, use_kept, [](const TruthSource& truth) { return truth.labelled; });
        match_more(matches, pair, limits, use_kept,
                   [](const TruthSource& truth) { return !truth.labelled; });

        for (const TruthSource& truth : pair.truth) {
            if (!truth.labelled || !counts(pair, options_, truth.x_px, truth.y_px)) continue;
            for (Tally& tally : tallies_) tally.bin.truth += tally.holds(truth.mag);
            result_.bright.truth += truth.mag < options_.bright_mag;
        }
        for (std::size_t i = 0; i < matches.size(); ++i) {
            const catalog::SourceRow& ours = pair.detections[i];
            if (!kept(ours)) continue;
            const bool matched = matches[i] != k_none;
            if (counts(pair, options_, ours.x_px, ours.y_px)) {
                if (!matched)
                    for (Tally& tally : tallies_) tally.bin.false_positives += tally.holds(ours.mag);
                if (ours.mag < options_.bright_mag) {
                    ++result_.bright.detections;
                    result_.bright.detections_true += matched;
                    result_.bright.detections_labelled += matched && pair.truth[matches[i]].labelled;
                }
            }
            if (!matched) continue;
            const TruthSource& truth = pair.truth[matches[i]];
            if (!truth.labelled || !counts(pair, options_, truth.x_px, truth.y_px)) continue;
            for (Tally& tally : tallies_)
                if (tally.holds(truth.mag)) tally.add_match(ours, truth);
            result_.bright.truth_found += truth.mag < options_.bright_mag;
        }
    }

    void add_calibration(const FieldPair& pair) {
        Matches matches(pair.detections.size(), k_none);
        // Kept detections choose first: a faint candidate that happens to lie nearer must not take their truth.
        for (const bool first : {true, false}) {
            match_more(
                matches, pair, {.px = options_.calibration_limit_px}, [&](const catalog::SourceRow& ours) { return kept(ours) == first; },
                [](const TruthSource& truth) { return truth.labelled; });
        }
        for (std::size_t i = 0; i < matches.size(); ++i) {
            const catalog::SourceRow& ours = pair.detections[i];
            if (!counts(pair, options_, ours.x_px, ours.y_px)) continue;
            const bool there = matches[i] != k_none;
            forecasts_.push_back({ours.p_source, there});
            if (!kept(ours)) continue;
            ++result_.kept;
            kept_p_ += ours.p_source;
            kept_true_ += there;
            if (!there) continue;
            const TruthSource& truth = pair.truth[matches[i]];
            result_.x.add(truth.x_px, {ours.x_px, ours.x_err_px, ours.x_low_px, ours.x_high_px});
            result_.y.add(truth.y_px, {ours.y_px, ours.y_err_px, ours.y_low_px, ours.y_high_px});
            const double truth_ln_e = std::log(truth.flux_nmgy / ours.flux_nmgy) + ours.ln_flux_e;
            result_.ln_flux.add(truth_ln_e, {ours.ln_flux_e, ours.ln_flux_e_err, ours.ln_flux_e_low, ours.ln_flux_e_high});
            add_type_and_shape(ours, truth);
        }
    }

    void add_type_and_shape(const catalog::SourceRow& ours, const TruthSource& truth) {
        if (truth.kind == TruthKind::unknown) return;
        types_.push_back({ours.p_star, truth.kind == TruthKind::star});
        if (truth.kind == TruthKind::star) return;
        result_.half_light_radius.add(truth.half_light_radius_px, {ours.half_light_radius_px, ours.half_light_radius_err_px,
                                                                   ours.half_light_radius_low_px, ours.half_light_radius_high_px});
        result_.axis_ratio.add(truth.axis_ratio, {ours.axis_ratio, ours.axis_ratio_err, ours.axis_ratio_low, ours.axis_ratio_high});
    }

    EvaluationOptions options_;
    std::vector<Tally> tallies_;
    std::vector<Forecast> forecasts_;
    std::vector<Forecast> types_;
    double kept_p_ = 0;
    double kept_true_ = 0;
    Evaluation result_;
};

}  // namespace

Evaluation evaluate(std::span<const FieldPair> fields, const EvaluationOptions& options) {
    Evaluator evaluator{options};
    for (const FieldPair& pair : fields) evaluator.add(pair);
    Evaluation result = evaluator.finished();
    result.counts = count_draws(fields, options.box_px, options.border_px);
    return result;
}

}  // namespace bliss::evaluation
