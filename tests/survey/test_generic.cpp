#include "bliss/core/error.hpp"
#include "bliss/core/random.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/survey/generic.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <limits>

using bliss::ConfigDocument;
using bliss::ConfigError;
using bliss::DataError;
using bliss::FitsError;
using bliss::Image;
using bliss::fits::FitsFile;
using bliss::survey::BackgroundMode;
using bliss::survey::GenericImageConfig;
using bliss::survey::PsfKind;
using bliss::survey::read_generic_frame;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

const bliss::FieldId k_id{0, 0, 3};

/// A sky of 200 counts at the left rising to 240 at the right, noise of gain 2, and a star in every 40 x 40 pixels.
Image<float> starry_sky(std::int64_t height, std::int64_t width) {
    bliss::RandomStream random(1, bliss::StreamPurpose::noise, 0, 0);
    Image<float> image(height, width);
    for (std::int64_t row = 0; row < height; ++row) {
        for (std::int64_t col = 0; col < width; ++col) {
            const double sky = 200 + 40 * (static_cast<double>(col) + 0.5) / static_cast<double>(width);
            const double dy = static_cast<double>(row % 40) - 20;
            const double dx = static_cast<double>(col % 40) - 20;
            const double mean = sky + 2000 * std::exp(-0.5 * (dx * dx + dy * dy) / 2.25);
            image(row, col) = static_cast<float>(mean + std::sqrt(mean / 2) * random.normal());
        }
    }
    return image;
}

template <class T>
void write(const std::filesystem::path& path, const Image<T>& image, const std::string& cards = {}) {
    auto file = FitsFile::create(path);
    file.write_image(image, "", cards);
    file.commit();
}

GenericImageConfig flat_config() {
    GenericImageConfig config;
    config.image = "image.fits";
    config.background = BackgroundMode::value;
    config.background_value = 100;
    config.psf_fwhm_px = 3;
    return config;
}

}  // namespace

TEST_CASE("blank values are masked, a deep but possible pixel is not") {
    const bliss::test::TemporaryFolder folder;
    Image<float> image(40, 50, 104.0f);
    image(3, 4) = -32768;
    image(5, 6) = -1e30f;
    image(7, 8) = 60;  // four sigmas below the sky of 100
    write(folder.path() / "image.fits", image);
    const auto frame = read_generic_frame(flat_config(), folder.path(), k_id);
    CHECK(frame.valid(3, 4) == 0);
    CHECK(frame.valid(5, 6) == 0);
    CHECK(frame.electrons(5, 6) == frame.background_e(5, 6));
    CHECK(frame.valid(7, 8) == 1);
    CHECK_THAT(bliss::survey::valid_share(frame), WithinRel(1 - 2 / 2000.0, 1e-12));
}

TEST_CASE("the background mesh finds a sloping sky under stars") {
    const bliss::test::TemporaryFolder folder;
    write(folder.path() / "image.fits", starry_sky(400, 640));
    auto config = flat_config();
    config.background = BackgroundMode::estimate;
    config.gain_e_per_adu = 2;
    config.read_noise_e = 3;
    const auto frame = read_generic_frame(config, folder.path(), k_id);
    CHECK(frame.id == k_id);
    CHECK_FALSE(frame.wcs.has_value());
    double worst = 0;
    double mean = 0;
    // Inside the centres of the outer boxes; beyond, the mesh is constant by design.
    for (std::int64_t row = 0; row < 400; ++row) {
        for (std::int64_t col = 64; col < 576; ++col) {
            const double want = 2 * (200 + 40 * (static_cast<double>(col) + 0.5) / 640) + 9;
            const double error = frame.background_e(row, col) - want;
            worst = std::max(worst, std::abs(error));
            mean += error / (400 * 512);
        }
    }
    // Noise is 21 electrons; a box's median scatters by 0.2, and clipping leaves 2 electrons of the stars' wings.
    CHECK(worst < 4);
    CHECK(std::abs(mean) < 2);
    // Far below what a plain mean gives: the stars add 2 * 2000 * 2 pi 2.25 / 1600 = 35 electrons a pixel.
}

TEST_CASE("electrons, background and calibration follow the unit, gain and zero point") {
    const bliss::test::TemporaryFolder folder;
    write(folder.path() / "image.fits", Image<float>(4, 6, 150));
    auto config = flat_config();
    config.gain_e_per_adu = 2;
    config.zero_point_mag = 25;
    config.read_noise_e = 5;
    const auto adu = read_generic_frame(config, folder.path(), k_id);
    CHECK(adu.electrons(3, 5) == 325.0F);  // 150 * 2 + 25
    CHECK(adu.background_e(0, 0) == 225.0F);
    REQUIRE(adu.electrons_per_nmgy.size() == 6);
    CHECK_THAT(adu.electrons_per_nmgy[0], WithinRel(20.0F, 1e-6F));  // 22.5 mag: 10 counts of mag 25, 2 electrons each

    config.unit = "electrons";
    const auto electrons = read_generic_frame(config, folder.path(), k_id);
    CHECK(electrons.electrons(0, 0) == 175.0F);
    CHECK_THAT(electrons.electrons_per_nmgy[0], WithinRel(10.0F, 1e-6F));

    config.sky_subtracted = true;
    const auto subtracted = read_generic_frame(config, folder.path(), k_id);
    CHECK(subtracted.electrons(0, 0) == 275.0F);
    CHECK(subtracted.background_e(0, 0) == 125.0F);
}

TEST_CASE("saturated, masked and NaN pixels are invalid") {
    const bliss::test::TemporaryFolder folder;
    Image<float> image(4, 6, 150);
    image(0, 1) = 60000;
    image(1, 2) = std::numeric_limits<float>::quiet_NaN();
    image(1, 3) = std::numeric_limits<float>::infinity();
    image(2, 2) = 59999;
    write(folder.path() / "image.fits", image);
    Image<double> mask(4, 6);
    mask(3, 3) = 65536;
    write(folder.path() / "mask-of-image.fits", mask);
    auto config = flat_config();
    config.saturation = 60000;
    config.mask_image = "mask-of-{stem}.fits";  // for all images of a survey
    const auto frame = read_generic_frame(config, folder.path(), k_id);
    int invalid = 0;
    for (const auto valid : frame.valid.pixels()) invalid += valid == 0 ? 1 : 0;
    CHECK(invalid == 4);
    CHECK((frame.valid(0, 1) == 0 && frame.valid(1, 2) == 0 && frame.valid(1, 3) == 0 && frame.valid(3, 3) == 0));
    CHECK(std::isfinite(frame.electrons(1, 3)));
}

TEST_CASE("a background image may lie behind an empty primary HDU") {
    const bliss::test::TemporaryFolder folder;
    write(folder.path() / "image.fits", Image<float>(4, 6, 150));
    Image<float> sky(4, 6, 100);
    sky(2, 3) = 120;
    auto file = FitsFile::create(folder.path() / "sky.fits");
    file.write_image(sky, "SKY");
    file.commit();
    auto config = flat_config();
    config.background = BackgroundMode::image;
    config.background_image = "sky.fits";
    CHECK(read_generic_frame(config, folder.path(), k_id).background_e(2, 3) == 120.0F);
}

TEST_CASE("world coordinates and each kind of PSF are taken") {
    const bliss::test::TemporaryFolder folder;
    const auto wcs = bliss::survey::Wcs::tangent({150, 2}, {3, 2}, 0.2);
    write(folder.path() / "image.fits", Image<float>(4, 6, 150), wcs.header_cards());
    auto config = flat_config();
    const auto frame = read_generic_frame(config, folder.path(), k_id);
    REQUIRE(frame.wcs.has_value());
    CHECK_THAT(frame.wcs->sky({3, 2}).ra_deg, WithinAbs(150, 1e-9));
    CHECK_THAT(frame.psf.fwhm_px(), WithinAbs(3, 1e-9));
    config.psf = PsfKind::moffat;
    CHECK_THAT(read_generic_frame(config, folder.path(), k_id).psf.fwhm_px(), WithinAbs(3, 3e-3));
    config.psf = PsfKind::mixture;
    config.psf_weights = {0.8, 0.2};
    config.psf_sigmas_px = {1.5, 3};
    CHECK(read_generic_frame(config, folder.path(), k_id).psf.components().size() == 2);
}

TEST_CASE("settings are read from a configuration") {
    GenericImageConfig config;
    ConfigDocument::from_text(R"(image = "a.fits"
background = "value"
background_value = 50.0
psf = "moffat"
psf_fwhm_px = 4.0
)",
                              "test.toml")
        .read(config);
    CHECK(config.image == "a.fits");
    CHECK(config.background == BackgroundMode::value);
    CHECK(config.psf == PsfKind::moffat);
    CHECK_THROWS_AS(ConfigDocument::from_text("gain_e_per_adu = -1.0", "test.toml").read(config), ConfigError);
    CHECK_THROWS_AS(ConfigDocument::from_text("psf = \"airy\"", "test.toml").read(config), ConfigError);
}

TEST_CASE("settings that contradict each other are refused by key") {
    const bliss::test::TemporaryFolder folder;
    write(folder.path() / "image.fits", Image<float>(4, 6, 150));
    const auto refused = [&](const GenericImageConfig& config, const std::string& key) {
        CHECK_THROWS_MATCHES(read_generic_frame(config, folder.path(), k_id), ConfigError,
                             MessageMatches(ContainsSubstring(key)));
    };
    auto config = flat_config();
    config.unit = "counts";
    refused(config, "unit");
    config = flat_config();
    config.psf_fwhm_px = 0;
    refused(config, "psf_fwhm_px");
    config = flat_config();
    config.psf = PsfKind::mixture;
    config.psf_weights = {1, 2};
    config.psf_sigmas_px = {1};
    refused(config, "psf_weights");
    config = flat_config();
    config.sky_subtracted = true;
    config.background = BackgroundMode::estimate;
    refused(config, "sky_subtracted");
    config = flat_config();
    config.image.clear();
    refused(config, "image");
}

TEST_CASE("bad images are refused by name") {
    const bliss::test::TemporaryFolder folder;
    auto config = flat_config();
    CHECK_THROWS_MATCHES(read_generic_frame(config, folder.path(), k_id), FitsError,
                         MessageMatches(ContainsSubstring("image.fits") && ContainsSubstring("no such file")));
    write(folder.path() / "image.fits", Image<float>(4, 6, std::numeric_limits<float>::quiet_NaN()));
    CHECK_THROWS_MATCHES(read_generic_frame(config, folder.path(), k_id), DataError,
                         MessageMatches(ContainsSubstring("image.fits") && ContainsSubstring("no pixel is valid")));
    config.background = BackgroundMode::estimate;
    CHECK_THROWS_AS(read_generic_frame(config, folder.path(), k_id), DataError);

    write(folder.path() / "image.fits", Image<float>(4, 6, 150));
    write(folder.path() / "mask.fits", Image<std::uint8_t>(6, 4));
    config = flat_config();
    config.mask_image = "mask.fits";
    CHECK_THROWS_MATCHES(read_generic_frame(config, folder.path(), k_id), DataError,
                         MessageMatches(ContainsSubstring("mask.fits") && ContainsSubstring("[6, 4]")));
    config = flat_config();
    config.hdu = 1;
    CHECK_THROWS_MATCHES(read_generic_frame(config, folder.path(), k_id), FitsError,
                         MessageMatches(ContainsSubstring("1 HDUs")));
    config = flat_config();
    config.background_value = 0;
    CHECK_THROWS_MATCHES(read_generic_frame(config, folder.path(), k_id), DataError,
                         MessageMatches(ContainsSubstring("must be positive")));
    auto cube = FitsFile::create(folder.path() / "image.fits");
    cube.write_cube(bliss::fits::Cube<float>{2, 2, 2, std::vector<float>(8, 1)});
    cube.commit();
    CHECK_THROWS_MATCHES(read_generic_frame(flat_config(), folder.path(), k_id), FitsError,
                         MessageMatches(ContainsSubstring("[2, 2, 2]")));
}
