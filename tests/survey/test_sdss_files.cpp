#include "bliss/survey/sdss.hpp"
#include "bliss/survey/sdss_files.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

using namespace bliss;
using namespace bliss::survey;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

TEST_CASE("a frame that was written comes back: electrons, sky, calibration, PSF, mask and place") {
    const test::TemporaryFolder folder;
    constexpr std::int64_t k_height = 60, k_width = 83;
    SdssExposure exposure{.id = {94, 2, 17},
                          .band = "r",
                          .electrons = Image<float>{k_height, k_width, 900.0F},
                          .valid = Image<std::uint8_t>{k_height, k_width, 1},
                          .sky = {880, 0.03, -0.02},
                          .detector = {4.71, 1.82},
                          .nmgy_per_count = std::vector<float>(k_width, 0.00476F),
                          .psf = {1.49, 2.99, 0.049, 2.89, 3.26, 0.0105},
                          .wcs = Wcs::drift_scan({359.999, 0.3}, {41, 29.5}, 0.396)};
    for (std::int64_t k = 0; k < exposure.electrons.size(); ++k)
        exposure.electrons.pixels()[static_cast<std::size_t>(k)] += static_cast<float>(k % 97);
    for (std::int64_t col = 20; col < 26; ++col) exposure.valid(30, col) = 0;
    exposure.valid(59, 82) = 0;
    const auto column = folder.path() / "94" / "2";
    write_sdss_frame(column / "frame-r-000094-2-0017.fits", exposure);
    write_sdss_psf(column / "psField-000094-2-0017.fit", exposure);
    write_sdss_mask(column / "fpM-000094-r2-0017.fit", exposure);
    write_sdss_detector(folder.path() / "94" / "photoField-000094-2.fits", {94, 2, 11}, 9, exposure.detector);

    const Frame frame = read_sdss_frame({folder.path(), exposure.id, "r"});
    REQUIRE(frame.height() == k_height);
    REQUIRE(frame.width() == k_width);
    for (std::int64_t row = 0; row < k_height; ++row) {
        for (std::int64_t col = 0; col < k_width; ++col) {
            CHECK_THAT(frame.background_e(row, col), WithinAbs(exposure.sky.at(row, col, k_height, k_width), 2e-3));
            CHECK(frame.valid(row, col) == exposure.valid(row, col));
            if (frame.valid(row, col)) CHECK_THAT(frame.electrons(row, col), WithinAbs(exposure.electrons(row, col), 2e-3));
        }
    }
    CHECK_THAT(frame.electrons_per_nmgy[40], WithinRel(4.71F / 0.00476F, 1e-5F));
    CHECK_THAT(frame.psf.fwhm_px(), WithinRel(Psf::from_sdss(exposure.psf).fwhm_px(), 1e-6));
    CHECK(frame.has_mask);
    // Along a row of pixels the declination grows, along a column of them the right ascension, here across 0.
    const SkyPosition centre = frame.wcs->sky({41, 29.5}), far = frame.wcs->sky({51, 49.5});
    CHECK_THAT(centre.ra_deg, WithinAbs(359.999, 1e-9));
    CHECK_THAT(far.dec_deg - centre.dec_deg, WithinAbs(10 * 0.396 / 3600, 1e-7));
    CHECK_THAT(far.ra_deg, WithinAbs(359.999 + 20 * 0.396 / 3600 - 360, 1e-6));
}
