#include "bliss/evaluation/metrics.hpp"

#include "bliss/core/units.hpp"
#include "bliss/evaluation/report.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <cmath>

using namespace bliss;
using namespace bliss::evaluation;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

namespace {

constexpr double k_normal_95 = 1.6448536269514722;  // quantile of the standard Normal

TruthSource truth(double x_px, double y_px, double mag, TruthKind kind, bool labelled = true) {
    return {x_px, y_px, nmgy_from_magnitude(mag), mag, kind, labelled};
}

catalog::SourceRow detection(double x_px, double y_px, double mag, double p_source, double p_star = 1) {
    catalog::SourceRow row{};
    row.x_px = x_px;
    row.y_px = y_px;
    row.x_err_px = 0.3;
    row.y_err_px = 0.2;
    row.x_low_px = x_px - k_normal_95 * row.x_err_px;
    row.x_high_px = x_px + k_normal_95 * row.x_err_px;
    row.y_low_px = y_px - k_normal_95 * row.y_err_px;
    row.y_high_px = y_px + k_normal_95 * row.y_err_px;
    row.mag = mag;
    row.flux_nmgy = nmgy_from_magnitude(mag);
    row.ln_flux_e = 7;
    row.ln_flux_e_err = 0.1;
    row.ln_flux_e_low = 7 - k_normal_95 * 0.1;
    row.ln_flux_e_high = 7 + k_normal_95 * 0.1;
    row.p_source = p_source;
    row.p_star = p_star;
    return row;
}

/// A frame of 100 x 200 pixels, border 24; every number below is worked out by hand from these lists.
struct Example {
    std::vector<TruthSource> sources{
        truth(50, 50, 18.0, TruthKind::star),   truth(100, 50, 18.5, TruthKind::galaxy),
        truth(150, 50, 19.2, TruthKind::star),  // only a candidate below .5 there: missed
        truth(30, 30, 19.5, TruthKind::galaxy), truth(60, 60, 19.9, TruthKind::star, false),  // need not be found
        truth(10, 50, 18.2, TruthKind::star),                                                 // on the border
    };
    std::vector<catalog::SourceRow> detections{
        detection(50.2, 49.9, 18.1, 0.9, 0.9),
        detection(100.4, 50.4, 18.3, 0.8, 0.7),  // a galaxy called star
        detection(29.9, 30.1, 19.5, 0.6, 0.2),
        detection(60.1, 60, 19.8, 0.7),     // on the unlabelled source: no false positive
        detection(10, 50, 18.2, 0.9),       // border
        detection(80, 40, 19.1, 0.5),       // false positive
        detection(150.2, 50.1, 19.3, 0.3),  // not kept, but there
        detection(170, 70, 19.6, 0.1),      // not kept, not there
    };

    [[nodiscard]] FieldPair pair() const { return {detections, sources, 100, 200}; }
};

const EvaluationOptions k_options{.first_mag = 18, .last_mag = 21, .bright_mag = 19.9};

Evaluation example_evaluation() {
    const Example example;
    const FieldPair pair = example.pair();
    return evaluate(std::span{&pair, 1}, k_options);
}

}  // namespace

TEST_CASE("counts by magnitude are those worked out by hand") {
    const Evaluation result = example_evaluation();
    REQUIRE(result.bins.size() == 3);
    const MagnitudeBin& bright = result.bins[0];
    CHECK(bright.truth == 2);
    CHECK(bright.true_positives == 2);
    CHECK(bright.false_positives == 0);
    CHECK(bright.typed == 2);
    CHECK(bright.type_accuracy() == 0.5);
    const MagnitudeBin& faint = result.bins[1];
    CHECK(faint.truth == 2);
    CHECK(faint.true_positives == 1);
    CHECK(faint.false_positives == 1);
    CHECK(faint.precision() == 0.5);
    CHECK(faint.recall() == 0.5);
    CHECK(faint.f1() == 0.5);
    CHECK(faint.type_accuracy() == 1);
    CHECK(result.bins[2].truth == 0);
    CHECK(std::isnan(result.bins[2].recall()));
    CHECK(result.all.f1() == 0.75);
    CHECK(result.all.precision() == 0.75);
    CHECK(result.all.recall() == 0.75);
}

TEST_CASE("offsets and scatters are medians worked out by hand") {
    const MagnitudeBin bin = example_evaluation().bins[0];
    // Magnitude errors .1 and -.2; x errors .2 and .4, y errors -.1 and .4, each about their own median.
    CHECK_THAT(bin.mag_offset, WithinAbs(-0.05, 1e-12));
    CHECK_THAT(bin.mag_scatter, WithinAbs(1.4826 * 0.15, 1e-12));
    CHECK_THAT(bin.position_scatter_px, WithinAbs(1.4826 * 0.175, 1e-12));
}

TEST_CASE("the brighter-than summary matches each side with everything on the other") {
    const Evaluation result = example_evaluation();
    CHECK(result.bright.truth == 4);
    CHECK(result.bright.truth_found == 3);
    CHECK(result.bright.detections == 5);
    CHECK(result.bright.detections_true == 4);  // the one on the unlabelled source is real
    CHECK(result.bright.detections_labelled == 3);
}

TEST_CASE("calibration uses all candidates and takes unlabelled sources for nothing") {
    const Evaluation result = example_evaluation();
    CHECK(result.candidates == 7);
    CHECK(result.kept == 5);
    CHECK_THAT(result.expected_precision, WithinAbs(0.7, 1e-12));
    CHECK_THAT(result.found_precision, WithinAbs(0.6, 1e-12));
    // Each candidate is alone in its bin: .1 + .2 + .4 + .7 + .5 + .7 + .1 over 7.
    CHECK_THAT(result.calibration_error, WithinAbs(2.7 / 7, 1e-12));
    // Deviations in standard deviations: x .67 1.33 .33; y .5 2 .5; ln flux .92 1.84 0.
    CHECK(result.x.count == 3);
    CHECK(result.x.inside_68 == 2);
    CHECK(result.x.inside_90 == 3);
    CHECK(result.y.inside_68 == 2);
    CHECK(result.y.inside_90 == 2);
    CHECK(result.ln_flux.inside_68 == 2);
    CHECK(result.ln_flux.inside_90 == 2);
    // Types of the three that are there: .9 of a star, .7 and .2 of galaxies.
    CHECK(result.typed == 3);
    CHECK_THAT(result.type_calibration_error, WithinAbs((0.1 + 0.7 + 0.2) / 3, 1e-12));
    CHECK(result.half_light_radius.count == 0);  // nothing is known of their shapes
}

TEST_CASE("shapes are judged on galaxies whose shape is known") {
    std::vector<TruthSource> sources{truth(50, 50, 18.5, TruthKind::star), truth(60, 30, 18.5, TruthKind::galaxy),
                                     truth(30, 60, 19, TruthKind::galaxy)};
    std::vector<catalog::SourceRow> detections;
    for (TruthSource& source : sources) {
        catalog::SourceRow& row = detections.emplace_back(detection(source.x_px, source.y_px, source.mag, 0.9));
        row.half_light_radius_px = 2;
        row.half_light_radius_err_px = 0.5;
        row.half_light_radius_low_px = 1.2;
        row.half_light_radius_high_px = 3.1;
        row.axis_ratio = 0.6;
        row.axis_ratio_err = 0.1;
        row.axis_ratio_low = 0.4;
        row.axis_ratio_high = 0.8;
        if (source.kind == TruthKind::star) continue;
        source.half_light_radius_px = source.mag < 19 ? 2.4 : 2.9;  // within an error; within the 90 % interval alone
        source.axis_ratio = source.mag < 19 ? 0.85 : 0.55;          // in neither; in both
    }
    const FieldPair pair{detections, sources, 100, 100};
    const Evaluation result = evaluate(std::span{&pair, 1}, k_options);
    CHECK(result.half_light_radius.count == 2);
    CHECK(result.half_light_radius.inside_68 == 1);
    CHECK(result.half_light_radius.inside_90 == 2);
    CHECK(result.axis_ratio.inside_68 == 1);
    CHECK(result.axis_ratio.inside_90 == 1);
    CHECK_THAT(to_text(result),
               ContainsSubstring("radius       2   0.500   1.000") && ContainsSubstring("calibration of p_star over 3 sources"));
    CHECK(nlohmann::json::parse(to_json(result))["coverage"]["axis_ratio"]["share_in_90"] == 0.5);
}

TEST_CASE("pooling the same field twice doubles counts and leaves ratios") {
    const Example example;
    const FieldPair pairs[] = {example.pair(), example.pair()};
    const Evaluation result = evaluate(pairs, k_options);
    CHECK(result.fields == 2);
    CHECK(result.all.truth == 8);
    CHECK(result.all.f1() == 0.75);
    CHECK(result.candidates == 14);
    CHECK_THAT(result.calibration_error, WithinAbs(2.7 / 7, 1e-12));
    CHECK(result.bins[0].mag_offset == example_evaluation().bins[0].mag_offset);
}

TEST_CASE("two detections of one source are one true and one false positive") {
    const std::vector<TruthSource> sources{truth(50, 50, 18.5, TruthKind::star)};
    const std::vector<catalog::SourceRow> twice{detection(50.3, 50, 18.5, 0.9), detection(49.9, 50, 18.5, 0.9)};
    const FieldPair pair{twice, sources, 100, 100};
    const Evaluation result = evaluate(std::span{&pair, 1}, k_options);
    CHECK(result.all.true_positives == 1);
    CHECK(result.all.false_positives == 1);
}

TEST_CASE("an unlabelled source nearer to the detection does not take it from the labelled one") {
    const std::vector<TruthSource> sources{truth(50.6, 50, 18.5, TruthKind::star),
                                           truth(50.1, 50, 24, TruthKind::star, false)};
    const std::vector<catalog::SourceRow> one{detection(50, 50, 18.5, 0.9)};
    const FieldPair pair{one, sources, 100, 100};
    CHECK(evaluate(std::span{&pair, 1}, k_options).all.true_positives == 1);
}

TEST_CASE("a source found just off the border although its truth lies on it is neither right nor wrong") {
    const std::vector<TruthSource> sources{truth(23.8, 50, 18.5, TruthKind::star)};
    const std::vector<catalog::SourceRow> one{detection(24.1, 50, 18.5, 0.9)};
    const FieldPair pair{one, sources, 100, 100};
    const Evaluation result = evaluate(std::span{&pair, 1}, k_options);
    CHECK(result.all.truth == 0);
    CHECK(result.all.true_positives == 0);
    CHECK(result.all.false_positives == 0);
}

TEST_CASE("without fields every ratio is undefined, not zero or one") {
    const Evaluation result = evaluate({}, k_options);
    CHECK(std::isnan(result.all.f1()));
    CHECK(std::isnan(result.expected_precision));
    CHECK(std::isnan(result.calibration_error));
    CHECK_THAT(to_text(result), ContainsSubstring("-"));
}

TEST_CASE("the report says the same in text and JSON") {
    const Evaluation result = example_evaluation();
    const auto json = nlohmann::json::parse(to_json(result));
    CHECK(json["all"]["f1"] == 0.75);
    CHECK(json["all"]["true_positives"] == 3);
    CHECK(json["bins"][2]["recall"].is_null());
    CHECK(json["bins"][1]["low_mag"] == 19);
    CHECK(json["brighter_than"]["detections_true"] == 4);
    CHECK(json["reliability"].size() == 10);
    CHECK(json["coverage"]["y"]["count"] == 3);
    const std::string text = to_text(result);
    CHECK_THAT(text, ContainsSubstring("18-19      2      2     0  1.000  1.000  1.000     0.500  -0.050   0.222   0.259"));
    CHECK_THAT(text, ContainsSubstring("all      4      3     1  0.750"));
    CHECK_THAT(text, ContainsSubstring("brighter than 19.9: recall 0.750 (3 of 4), precision 0.800 (4 of 5)"));
    CHECK_THAT(text, ContainsSubstring("labelled sources within 2 px of 5 detections: expected for a share of 0.700, found for 0.600"));
}

TEST_CASE("a match may be asked to agree in magnitude") {
    const std::vector<TruthSource> sources{truth(50, 50, 20, TruthKind::star), truth(51, 50, 18, TruthKind::star)};
    const std::vector<catalog::SourceRow> detections{detection(50.4, 50, 18.2, 0.9)};
    const FieldPair pair{detections, sources, 100, 200};
    EvaluationOptions options = k_options;
    CHECK(evaluate({&pair, 1}, options).bins[2].true_positives == 1);  // the nearest
    options.match_limit_mag = 0.5;
    const Evaluation result = evaluate({&pair, 1}, options);
    CHECK(result.bins[2].true_positives == 0);
    CHECK(result.bins[0].true_positives == 1);
    CHECK_THAT(to_text(result), ContainsSubstring("match within 1 px in x and y and 0.5 mag"));
}

TEST_CASE("calibration matches kept detections before fainter candidates that lie nearer") {
    const std::vector<TruthSource> sources{truth(50, 50, 20, TruthKind::star)};
    const std::vector<catalog::SourceRow> detections{detection(51.5, 50, 20, 0.9), detection(50.1, 50, 20, 0.1)};
    const FieldPair pair{detections, sources, 100, 200};
    const Evaluation result = evaluate({&pair, 1}, {});
    CHECK(result.found_precision == 1);
    CHECK(result.x.count == 1);
    CHECK(result.reliability[9].share_true == 1);
    CHECK(result.reliability[1].share_true == 0);
}
