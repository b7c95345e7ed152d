#include "progress.hpp"

#include "bliss/core/error.hpp"

#include <catch2/catch_test_macros.hpp>


using namespace bliss;

namespace {

training::StepReport report_of(std::int64_t step, double loss) {
    training::StepReport report;
    report.step = step;
    report.loss = report.loss_all = loss;
    return report;
}

}  // namespace

TEST_CASE("the best validation is the least, and not one that something is missing of") {
    training::Validations validations;
    CHECK(validations.add(report_of(10, 1.5)));
    CHECK_FALSE(validations.add(report_of(20, 1.6)));
    training::StepReport diverged = report_of(30, 0);  // of the pieces that are finite: none
    diverged.skipped = true;
    CHECK_FALSE(validations.add(diverged));
    CHECK(validations.since_best == 2);
    CHECK(validations.best_step == 10);
    CHECK(validations.add(report_of(40, -0.25)));
    CHECK(validations.since_best == 0);
    CHECK(validations.best_step == 40);
    training::Validations none;
    CHECK_FALSE(none.add(diverged));
    CHECK(none.best_step == -1);
}

TEST_CASE("validations are kept in a checkpoint") {
    training::Validations validations;
    (void)validations.add(report_of(10, 1.0 / 3));
    (void)validations.add(report_of(20, 2));
    CHECK(validations.card() == validations.last.dump());
    validations.model = training::to_json(report_of(10, 0.3), "validation_");
    validations.finished = true;
    const training::Validations back = training::Validations::from_text(validations.to_text());
    CHECK(back.best == validations.best);
    CHECK(back.best_step == 10);
    CHECK(back.since_best == 1);
    CHECK(back.finished);
    CHECK(back.card() == validations.model.dump());
    for (const char* text : {"", "{}", "[1]", R"({"last": {}, "best": "low"})"})
        CHECK_THROWS_AS(training::Validations::from_text(text), DataError);
}
