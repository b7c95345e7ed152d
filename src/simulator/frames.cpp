#include "bliss/simulator/frames.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/units.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "bliss/survey/generic.hpp"
#include "bliss/survey/wcs.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cmath>

namespace bliss::simulator {
namespace {

namespace fs = std::filesystem;

std::string file_name(std::string_view kind, std::int64_t index, std::string_view extension) {
    return fmt::format("{}-{:04}.{}", kind, index, extension);
}

void write_truth(const fs::path& path, const FramesConfig& config, const ImageTruth& truth) {
    std::vector<double> x, y, flux_e, flux_nmgy, mag, radius, axis_ratio, angle;
    std::vector<std::int32_t> is_star, labelled;
    for (const Source& s : truth.sources) {
        const bool on_frame = s.x_px >= -0.5 && s.y_px >= -0.5 && s.x_px < static_cast<double>(config.width_px) - 0.5 &&
                              s.y_px < static_cast<double>(config.height_px) - 0.5;
        if (!on_frame) continue;
        x.push_back(s.x_px);
        y.push_back(s.y_px);
        flux_e.push_back(s.flux_e);
        flux_nmgy.push_back(s.flux_e / config.electrons_per_nmgy);
        mag.push_back(magnitude_from_nmgy(flux_nmgy.back()));
        is_star.push_back(s.is_star ? 1 : 0);
        labelled.push_back(s.flux_e >= config.simulator.prior.label_flux_min_e ? 1 : 0);
        const double nan = std::nan("");
        const Morphology shape = s.is_star ? Morphology{} : morphology_of(s.light);
        radius.push_back(s.is_star ? nan : shape.half_light_radius_px);
        axis_ratio.push_back(s.is_star ? nan : shape.axis_ratio());
        angle.push_back(s.is_star ? nan : shape.angle_rad());
    }
    auto file = fits::FitsFile::create(path);
    file.write_table("TRUTH", {{"X_PX", "pixel", "column, 0 = centre of the first pixel", x},
                               {"Y_PX", "pixel", "row, 0 = centre of the first pixel", y},
                               {"FLUX_E", "electron", "total flux", flux_e},
                               {"FLUX_NMGY", "nmgy", "total flux", flux_nmgy},
                               {"MAG", "mag", "AB magnitude", mag},
                               {"IS_STAR", "", "1 star, 0 galaxy", is_star},
                               {"LABELLED", "", "1 above the label limit", labelled},
                               {"R_HALF_PX", "pixel", "half-light radius, circularised", radius},
                               {"AXIS_RATIO", "", "minor to major axis", axis_ratio},
                               {"ANGLE_RAD", "rad", "major axis, from +x towards +y", angle}});
    file.write_key("RATE", truth.conditions.sources_per_tile, "labelled sources per 4x4-pixel tile in the mean");
    file.commit();
}

survey::GenericImageConfig reader_config(const FramesConfig& config, const Conditions& conditions, std::int64_t index) {
    survey::GenericImageConfig reader;
    reader.image = file_name("frame", index, "fits");
    reader.band = config.band;
    reader.unit = "electrons";
    reader.zero_point_mag = 22.5 + 2.5 * std::log10(config.electrons_per_nmgy);
    reader.background = survey::BackgroundMode::value;
    reader.background_value = conditions.background_e;
    reader.mask_image = file_name("mask", index, "fits");
    reader.psf = survey::PsfKind::mixture;
    for (const auto& component : conditions.psf.components()) {
        reader.psf_weights.push_back(component.weight);
        reader.psf_sigmas_px.push_back(component.sigma_px);
    }
    return reader;
}

void write_frame(const FramesConfig& config, const GalaxyDecoder* decoder, const fs::path& folder, std::int64_t index) {
    Image<float> image{config.height_px, config.width_px};
    Image<std::uint8_t> mask{config.height_px, config.width_px};
    const SimulationTarget target{{image.data(), 1, config.height_px, config.width_px}, mask.data()};
    const auto truth = simulate(config.simulator, decoder,
                                {static_cast<std::uint64_t>(config.seed), k_frames_step, static_cast<std::uint32_t>(index)}, target);
    for (std::uint8_t& pixel : mask.pixels()) pixel = pixel ? 0 : 1;  // files mark what not to use
    const survey::PixelPosition centre{0.5 * static_cast<double>(config.width_px - 1), 0.5 * static_cast<double>(config.height_px - 1)};
    const survey::Wcs wcs = survey::Wcs::tangent({0.3 * static_cast<double>(index), 0}, centre, config.simulator.prior.arcsec_per_px);

    auto file = fits::FitsFile::create(folder / file_name("frame", index, "fits"));
    file.write_image(image, {}, wcs.header_cards());
    file.write_key("BUNIT", std::string("electron"), "photo-electrons, sky included");
    file.write_key("BACKGND", truth[0].conditions.background_e, "[electron] sky");
    file.commit();
    auto mask_file = fits::FitsFile::create(folder / file_name("mask", index, "fits"));
    mask_file.write_image(mask);
    mask_file.commit();
    write_truth(folder / file_name("truth", index, "fits"), config, truth[0]);
    write_file(folder / file_name("frame", index, "toml"), to_toml(reader_config(config, truth[0].conditions, index)));
}

/// A configuration of `bliss-mpi catalog` for these frames; the model is named with `--set model=...`.
std::string catalog_config(const FramesConfig& config) {
    std::string images;
    for (std::int64_t i = 0; i < config.frames; ++i) images += fmt::format("    \"{}\",\n", file_name("frame", i, "toml"));
    const ConditionsConfig& conditions = config.simulator.conditions;
    // Fields of stars alone are catalogued with the density that they show.
    const bool stars_alone = config.simulator.prior.star_fraction == 1;
    const double rate = stars_alone ? 0 : std::sqrt(conditions.sources_per_tile_low * conditions.sources_per_tile_high);
    return fmt::format(
        "# bliss-mpi catalog THIS --set model=$PWD/MODEL   (relative paths start from this folder)\nsources_per_tile = "
        "{}\n\n[survey]\nkind = \"generic\"\nimages = [\n{}]\n",
        rate, images);
}

}  // namespace

void describe(ConfigVisitor& visitor, FramesConfig& config) {
    visitor.field("seed", config.seed, "of all frames", k_not_negative);
    visitor.field("frames", config.frames, "how many", Range{1, 1e7});
    visitor.field("height_px", config.height_px, "rows of a frame", Range{1, 1e5});
    visitor.field("width_px", config.width_px, "columns of a frame", Range{1, 1e5});
    visitor.field("band", config.band, "name of the band");
    visitor.field("electrons_per_nmgy", config.electrons_per_nmgy, "calibration, electrons per nanomaggy", k_positive);
    visitor.field("galaxy_model", config.galaxy_model, "model file with the galaxy decoder, for simulator.prior.galaxies = \"learnt\"");
    visitor.section("simulator", config.simulator);
}

void write_frames(const FramesConfig& config, const GalaxyDecoder* decoder, const fs::path& folder, const comm::Communicator& comm) {
    comm::agree_on(comm, [&] {
        check_simulator(config.simulator);
        if (comm.rank() != 0) return;
        create_output_folder(folder);
        write_file(folder / "simulate.toml", to_toml(config));
        write_file(folder / "catalog.toml", catalog_config(config));
    });
    comm::agree_on(comm, [&] {
        for (std::int64_t i = comm.rank(); i < config.frames; i += comm.size()) {
            write_frame(config, decoder, folder, i);
            spdlog::info("{} written ({}/{})", file_name("frame", i, "fits"), i + 1, config.frames);
        }
    });
}

}  // namespace bliss::simulator
