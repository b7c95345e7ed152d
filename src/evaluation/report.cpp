#include "bliss/evaluation/report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace bliss::evaluation {

namespace {

/// A number of fixed width, or a dash where there is none.
std::string cell(double value, int width, int digits) {
    return std::isfinite(value) ? fmt::format("{:>{}.{}f}", value, width, digits) : fmt::format("{:>{}}", "-", width);
}

std::string table_line(const std::string& name, const MagnitudeBin& bin) {
    return fmt::format("{:>11} {:>6} {:>6} {:>5} {} {} {} {} {} {} {}\n", name, bin.truth, bin.true_positives,
                       bin.false_positives, cell(bin.precision(), 6, 3), cell(bin.recall(), 6, 3), cell(bin.f1(), 6, 3),
                       cell(bin.type_accuracy(), 9, 3), cell(bin.mag_offset, 7, 3), cell(bin.mag_scatter, 7, 3),
                       cell(bin.position_scatter_px, 7, 3));
}

nlohmann::ordered_json to_object(const MagnitudeBin& bin) {
    return {{"low_mag", bin.low_mag},
            {"high_mag", bin.high_mag},
            {"truth", bin.truth},
            {"true_positives", bin.true_positives},
            {"false_positives", bin.false_positives},
            {"precision", bin.precision()},
            {"recall", bin.recall()},
            {"f1", bin.f1()},
            {"typed", bin.typed},
            {"type_accuracy", bin.type_accuracy()},
            {"mag_offset", bin.mag_offset},
            {"mag_scatter", bin.mag_scatter},
            {"position_scatter_px", bin.position_scatter_px}};
}

nlohmann::ordered_json to_object(const Coverage& coverage) {
    return {{"count", coverage.count}, {"share_in_68", coverage.share_68()}, {"share_in_90", coverage.share_90()}};
}

std::string coverage_line(const char* name, const Coverage& coverage) {
    return fmt::format("{:>9} {:>7} {} {}\n", name, coverage.count, cell(coverage.share_68(), 7, 3),
                       cell(coverage.share_90(), 7, 3));
}

}  // namespace

std::string to_text(const Evaluation& evaluation) {
    const EvaluationOptions& options = evaluation.options;
    const bool by_mag = std::isfinite(options.match_limit_mag);
    std::string text = fmt::format(
        "{} field(s); detections with p_source >= {}; match within {} px in x and y{}; border of {} px left out\n\n"
        "{:>11} {:>6} {:>6} {:>5} {:>6} {:>6} {:>6} {:>9} {:>7} {:>7} {:>7}\n",
        evaluation.fields, options.min_p_source, options.match_limit_px,
        by_mag ? fmt::format(" and {} mag", options.match_limit_mag) : "", options.border_px, "mag", "truth", "TP", "FP",
        "prec", "recall", "F1", "star/gal", "dmag", "sd mag", "sd px");
    for (const MagnitudeBin& bin : evaluation.bins)
        text += table_line(fmt::format("{:g}-{:g}", bin.low_mag, bin.high_mag), bin);
    text += table_line("all", evaluation.all);

    const BrightSummary& bright = evaluation.bright;
    text += fmt::format("\nbrighter than {:g}: recall {} ({} of {}), precision {} ({} of {}); against labelled sources alone {}\n",
                        bright.limit_mag, cell(bright.recall(), 5, 3), bright.truth_found, bright.truth,
                        cell(bright.precision(), 5, 3), bright.detections_true, bright.detections,
                        cell(bright.strict_precision(), 5, 3));
    text += fmt::format("labelled sources within {} px of {} detections: expected for a share of {}, found for {}\n",
                        options.calibration_limit_px, evaluation.kept, cell(evaluation.expected_precision, 5, 3),
                        cell(evaluation.found_precision, 5, 3));

    text += fmt::format("\ncalibration of p_source over {} candidates: error {}\n{:>9} {:>7} {:>7} {:>7}\n",
                        evaluation.candidates, cell(evaluation.calibration_error, 6, 4), "p", "count", "mean p", "true");
    for (const ReliabilityBin& bin : evaluation.reliability)
        text += fmt::format("{:>9} {:>7} {} {}\n", fmt::format("{:.1f}-{:.1f}", bin.low, bin.high), bin.count,
                            cell(bin.mean_p, 7, 3), cell(bin.share_true, 7, 3));
    text += fmt::format("\n{:>9} {:>7} {:>7} {:>7}\n", "interval", "count", "in 68%", "in 90%");
    text += coverage_line("x", evaluation.x) + coverage_line("y", evaluation.y) + coverage_line("ln flux", evaluation.ln_flux);
    if (evaluation.half_light_radius.count > 0) {
        text += coverage_line("radius", evaluation.half_light_radius) + coverage_line("b/a", evaluation.axis_ratio);
    }
    if (evaluation.typed > 0) {
        text += fmt::format("calibration of p_star over {} sources: error {}\n", evaluation.typed,
                            cell(evaluation.type_calibration_error, 6, 4));
    }
    if (const DrawnCounts& counts = evaluation.counts; counts.draws > 0) {
        text += fmt::format("\n{} joint draws: {:.1f} sources in the mean, {:.0f} true ones ({} %)\n", counts.draws, counts.drawn,
                            counts.truth, cell(100 * (counts.drawn / counts.truth - 1), 1, 1));
        text += fmt::format("counts in {} boxes of {:g} px: {} in the 50 % interval, {} in the 90 % interval\n", counts.boxes,
                            options.box_px, cell(counts.share_in(0.5), 5, 3), cell(counts.share_in(0.9), 5, 3));
    }
    return text;
}

std::string to_json(const Evaluation& evaluation) {
    const EvaluationOptions& options = evaluation.options;
    nlohmann::ordered_json json;
    json["fields"] = evaluation.fields;
    json["options"] = {{"min_p_source", options.min_p_source},
                       {"match_limit_px", options.match_limit_px},
                       {"match_limit_mag", options.match_limit_mag},
                       {"calibration_limit_px", options.calibration_limit_px},
                       {"border_px", options.border_px}};
    json["bins"] = nlohmann::ordered_json::array();
    for (const MagnitudeBin& bin : evaluation.bins) json["bins"].push_back(to_object(bin));
    json["all"] = to_object(evaluation.all);
    const BrightSummary& bright = evaluation.bright;
    json["brighter_than"] = {{"limit_mag", bright.limit_mag},     {"truth", bright.truth},
                             {"truth_found", bright.truth_found}, {"recall", bright.recall()},
                             {"detections", bright.detections},   {"detections_true", bright.detections_true},
                             {"precision", bright.precision()},   {"detections_labelled", bright.detections_labelled},
                             {"strict_precision", bright.strict_precision()}};
    json["kept"] = evaluation.kept;
    json["expected_precision"] = evaluation.expected_precision;
    json["found_precision"] = evaluation.found_precision;
    json["candidates"] = evaluation.candidates;
    json["calibration_error"] = evaluation.calibration_error;
    json["reliability"] = nlohmann::ordered_json::array();
    for (const ReliabilityBin& bin : evaluation.reliability)
        json["reliability"].push_back({{"low", bin.low},
                                       {"high", bin.high},
                                       {"count", bin.count},
                                       {"mean_p", bin.mean_p},
                                       {"share_true", bin.share_true}});
    json["typed"] = evaluation.typed;
    json["type_calibration_error"] = evaluation.type_calibration_error;
    json["coverage"] = {{"x", to_object(evaluation.x)}, {"y", to_object(evaluation.y)}, {"ln_flux", to_object(evaluation.ln_flux)}};
    if (evaluation.half_light_radius.count > 0) {
        json["coverage"]["half_light_radius"] = to_object(evaluation.half_light_radius);
        json["coverage"]["axis_ratio"] = to_object(evaluation.axis_ratio);
    }
    if (const DrawnCounts& counts = evaluation.counts; counts.draws > 0) {
        json["draws"] = {{"draws", counts.draws},   {"box_px", options.box_px},         {"boxes", counts.boxes},
                         {"drawn", counts.drawn},   {"truth", counts.truth},            {"share_in_50", counts.share_in(0.5)},
                         {"share_in_90", counts.share_in(0.9)}};
    }
    return json.dump(2) + "\n";
}

}  // namespace bliss::evaluation
