#include "bliss/survey/frame.hpp"

#include "bliss/core/random.hpp"
#include "bliss/core/statistics.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <vector>

namespace {

using namespace bliss;

survey::Frame frame_of(std::int64_t height, std::int64_t width) {
    return {.id = {},
            .band = "r",
            .electrons = Image<float>{height, width, 1},
            .background_e = Image<float>{height, width, 100},
            .valid = Image<std::uint8_t>{height, width, 1},
            .electrons_per_nmgy = std::vector<float>(static_cast<std::size_t>(width), 1.0f),
            .psf = survey::Psf::from_fwhm(3),
            .wcs = {},
            .source = "here"};
}

}  // namespace

TEST_CASE("the median background is that of the valid pixels, to the bit") {
    RandomStream random{3, StreamPurpose::catalog, 0, 0};
    for (const std::int64_t width : {20, 21, 1}) {
        survey::Frame frame = frame_of(21, width);
        std::vector<float> values;
        for (std::int64_t k = 0; k < frame.background_e.size(); ++k) {
            // Some far apart, many alike, and neighbours in the last bits.
            const bool far = random.uniform() < 0.3;
            frame.background_e.data()[k] = static_cast<float>(far ? random.log_uniform(1e-3, 1e6) : 700 * (1 + 1e-6 * random.uniform()));
            frame.valid.data()[k] = random.uniform() < 0.8 ? 1 : 0;
            if (frame.valid.data()[k]) values.push_back(frame.background_e.data()[k]);
        }
        CHECK(survey::median_background_e(frame) == median(values));
    }
    survey::Frame frame = frame_of(2, 2);
    CHECK(survey::median_background_e(frame) == 100);
    for (std::uint8_t& pixel : frame.valid.pixels()) pixel = 0;
    CHECK(std::isnan(survey::median_background_e(frame)));
}
