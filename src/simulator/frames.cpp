#include "bliss/simulator/frames.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "bliss/simulator/stripe.hpp"
#include "bliss/simulator/truth_table.hpp"
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

void write_frame(const FramesConfig& config, const GalaxyDecoder* decoder, const SampleRange& first, const fs::path& folder,
                 std::int64_t index) {
    Image<float> image{config.height_px, config.width_px};
    Image<std::uint8_t> mask{config.height_px, config.width_px};
    const SimulationTarget target{{image.data(), 1, config.height_px, config.width_px}, mask.data()};
    const SampleRange sample{first.seed, first.step, first.first_sample + static_cast<std::uint32_t>(index)};
    const auto truth = simulate(config.simulator, decoder, sample, target);
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
    write_truth(folder / file_name("truth", index, "fits"), config, truth[0], config.electrons_per_nmgy);
    write_file(folder / file_name("frame", index, "toml"), to_toml(reader_config(config, truth[0].conditions, index)));
}

/// A configuration of `bliss-mpi catalog` for these frames; the model is named with `--set model=...`.
std::string catalog_config(const FramesConfig& config) {
    std::string images;
    for (std::int64_t i = 0; i < config.frames; ++i) images += fmt::format("    \"{}\",\n", file_name("frame", i, "toml"));
    return fmt::format(
        "# bliss-mpi catalog THIS --set model=$PWD/MODEL   (relative paths start from this folder)\nsources_per_tile = "
        "{}\n\n[survey]\nkind = \"generic\"\nimages = [\n{}]\n",
        catalogued_rate(config), images);
}

}  // namespace

void describe(ConfigVisitor& visitor, StripeConfig& config) {
    visitor.field("run", config.run, "number of the first strip's run; a second strip has the next", Range{1, 999'998});
    visitor.field("strips", config.strips, "1, or 2 that fill each other's gaps", Range{1, 2});
    visitor.field("camcols", config.camcols, "camera columns", Range{1, 6});
    visitor.field("fields_per_camcol", config.fields_per_camcol, "fields of each column", Range{1, 9000});
    visitor.field("first_field", config.first_field, "number of the first field", Range{0, 999});
    visitor.field("overlap_rows_px", config.overlap_rows_px, "rows that a field shares with the next", k_not_negative);
    visitor.field("overlap_cols_px", config.overlap_cols_px, "columns that a column shares with the next of the other strip",
                  k_not_negative);
    visitor.field("ra_deg", config.ra_deg, "right ascension where the scan begins", Range{0, 360});
    visitor.field("dec_deg", config.dec_deg, "declination of the stripe's middle", Range{-5, 5});
    visitor.field("dense_factor", config.dense_factor, "times the density of sources in the middle field of the first column", k_positive);
    visitor.field("broken_fields", config.broken_fields,
                  "fields whose files cannot be used, in turns: no frame, half a frame, a blank "
                  "frame, no PSF",
                  k_not_negative);
}

void describe(ConfigVisitor& visitor, FramesConfig& config) {
    visitor.field("seed", config.seed, "of all frames", k_not_negative);
    visitor.choice("layout", config.layout, "images of their own, or fields of one sky that overlap, in SDSS's files",
                   {Choice<FramesLayout>{"images", FramesLayout::images}, Choice<FramesLayout>{"stripe", FramesLayout::stripe}});
    visitor.field("frames", config.frames, "how many images", Range{1, 1e7});
    visitor.section("stripe", config.stripe);
    visitor.field("height_px", config.height_px, "rows of a frame", Range{1, 1e5});
    visitor.field("width_px", config.width_px, "columns of a frame", Range{1, 1e5});
    visitor.field("band", config.band, "name of the band");
    visitor.field("electrons_per_nmgy", config.electrons_per_nmgy, "calibration, electrons per nanomaggy", k_positive);
    visitor.field("galaxy_model", config.galaxy_model, "model file with the galaxy decoder, for simulator.prior.galaxies = \"learnt\"");
    visitor.section("simulator", config.simulator);
}

std::int64_t frame_count(const FramesConfig& config) {
    const StripeConfig& stripe = config.stripe;
    return config.layout == FramesLayout::images ? config.frames : stripe.strips * stripe.camcols * stripe.fields_per_camcol;
}

void write_frames(const FramesConfig& config, const GalaxyDecoder* decoder, const fs::path& folder, const comm::Communicator& comm) {
    if (config.layout == FramesLayout::stripe) {
        write_stripe(config, decoder, folder, comm);
        return;
    }
    write_samples(config, decoder, {static_cast<std::uint64_t>(config.seed), k_frames_step, 0}, folder, comm);
}

void write_samples(const FramesConfig& config, const GalaxyDecoder* decoder, const SampleRange& first, const fs::path& folder,
                   const comm::Communicator& comm) {
    comm::agree_on(comm, [&] {
        check_simulator(config.simulator);
        if (comm.rank() != 0) return;
        create_output_folder(folder);
        write_file(folder / "simulate.toml", to_toml(config));
        write_file(folder / "catalog.toml", catalog_config(config));
    });
    comm::agree_on(comm, [&] {
        for (std::int64_t i = comm.rank(); i < config.frames; i += comm.size()) {
            write_frame(config, decoder, first, folder, i);
            spdlog::info("{} written ({}/{})", file_name("frame", i, "fits"), i + 1, config.frames);
        }
    });
}

}  // namespace bliss::simulator
