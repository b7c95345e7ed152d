#include "bliss/simulator/stripe.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "bliss/simulator/sky_scene.hpp"
#include "bliss/simulator/truth_table.hpp"
#include "bliss/survey/sdss_files.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <span>

namespace bliss::simulator {
namespace {

namespace fs = std::filesystem;

/// Seeing, sky and density are drawn anew this many fields apart and change linearly between.
constexpr std::int64_t k_knot_fields = 8;
/// The second strip was scanned on another night: its fields do not line up with the first one's.
constexpr double k_strip_shift = 0.37;
/// How much the calibration differs from field to field, and the sky across one.
constexpr double k_calibration_scatter = 0.02, k_sky_slope = 0.03;
/// About those of SDSS r. @source photoField of run 94.
constexpr survey::SdssDetector k_detector{4.71, 1.82};

enum class Fault { none, no_frame, half_a_frame, blank_frame, no_psf };
constexpr std::array k_faults{Fault::no_frame, Fault::half_a_frame, Fault::blank_frame, Fault::no_psf};

std::string_view text_of(Fault fault) {
    switch (fault) {
        case Fault::none:
            break;
        case Fault::no_frame:
            return "has no frame";
        case Fault::half_a_frame:
            return "half of the frame's file is missing";
        case Fault::blank_frame:
            return "the frame is blank";
        case Fault::no_psf:
            return "has no psField";
    }
    return "";
}

/// One field's place in the stripe.
struct Place {
    std::int64_t strip = 0, camcol = 0, along = 0;  ///< from 0
};

/// A linear change between knots.
struct BetweenKnots {
    std::int64_t knot = 0;
    double share = 0;  ///< of the next one

    explicit BetweenKnots(double fields) {
        const double at = std::max(fields, 0.0) / k_knot_fields;
        knot = static_cast<std::int64_t>(at);
        share = at - static_cast<double>(knot);
    }
    [[nodiscard]] double between(double low, double high) const { return std::lerp(low, high, share); }
};

class Stripe {
public:
    Stripe(const FramesConfig& config, const GalaxyDecoder* decoder)
        : config_{config}, scene_{config.simulator.prior, decoder, seed(), [this](double x_px, double y_px) { return rate(x_px, y_px); }} {
        std::vector<std::int64_t> order(static_cast<std::size_t>(fields()));
        std::iota(order.begin(), order.end(), 0);
        RandomStream random{seed(), StreamPurpose::mask, k_stripe_seeing_step, 0};
        for (std::int64_t k = 0; k < config.stripe.broken_fields; ++k) {
            const auto first = static_cast<std::size_t>(k);
            const auto of_rest = static_cast<std::size_t>(random.uniform() * static_cast<double>(order.size() - first));
            std::swap(order[first], order[first + of_rest]);
            faults_[order[first]] = k_faults[first % k_faults.size()];
        }
    }

    [[nodiscard]] std::int64_t fields() const { return frame_count(config_); }

    [[nodiscard]] FieldId id(std::int64_t k) const {
        const Place place = place_of(k);
        const auto number = [](std::int64_t n) { return static_cast<std::int32_t>(n); };
        return {number(config_.stripe.run + place.strip), number(place.camcol + 1), number(config_.stripe.first_field + place.along)};
    }

    [[nodiscard]] Fault fault(std::int64_t k) const {
        const auto found = faults_.find(k);
        return found == faults_.end() ? Fault::none : found->second;
    }

    void write_field(std::int64_t k, const fs::path& folder) const;

private:
    [[nodiscard]] std::uint64_t seed() const { return static_cast<std::uint64_t>(config_.seed); }

    [[nodiscard]] Place place_of(std::int64_t k) const {
        const std::int64_t column = k / config_.stripe.fields_per_camcol;
        return {column / config_.stripe.camcols, column % config_.stripe.camcols, k % config_.stripe.fields_per_camcol};
    }

    [[nodiscard]] std::int64_t rows_apart() const { return config_.height_px - config_.stripe.overlap_rows_px; }
    [[nodiscard]] std::int64_t cols_apart() const { return config_.width_px - config_.stripe.overlap_cols_px; }

    /// Place of a field's first pixel on the plane of the sky: x along the columns, y along the rows, pixels.
    [[nodiscard]] survey::PixelPosition origin(const Place& place) const {
        const std::int64_t column = place.camcol * config_.stripe.strips + place.strip;
        const double along = static_cast<double>(place.along) + k_strip_shift * static_cast<double>(place.strip);
        return {static_cast<double>(column * cols_apart()), along * static_cast<double>(rows_apart())};
    }

    [[nodiscard]] survey::SkyPosition sky(survey::PixelPosition plane) const {
        const double degrees_per_px = config_.simulator.prior.arcsec_per_px / 3600;
        const auto columns = static_cast<double>(config_.stripe.strips * config_.stripe.camcols);
        const double middle = 0.5 * columns * static_cast<double>(cols_apart());
        return {std::fmod(config_.stripe.ra_deg + plane.y_px * degrees_per_px, 360),
                config_.stripe.dec_deg + (plane.x_px - middle) * degrees_per_px};
    }

    [[nodiscard]] RandomStream knot(std::int64_t column, std::int64_t knot) const {
        return {seed(), StreamPurpose::conditions, k_stripe_seeing_step, static_cast<std::uint32_t>(knot),
                static_cast<std::uint32_t>(column)};
    }

    [[nodiscard]] double rate(double x_px, double y_px) const;
    [[nodiscard]] Conditions conditions(const Place& place, survey::Psf::SdssParameters& psf) const;
    [[nodiscard]] SkyScene::Contents sources(const Place& place, const survey::Wcs& wcs, double flux_scale) const;

    const FramesConfig& config_;
    SkyScene scene_;
    std::map<std::int64_t, Fault> faults_;
};

double Stripe::rate(double x_px, double y_px) const {
    const ConditionsConfig& range = config_.simulator.conditions;
    const BetweenKnots at{y_px / static_cast<double>(rows_apart())};
    const auto drawn = [&](std::int64_t k) {
        RandomStream random{seed(), StreamPurpose::conditions, k_stripe_sky_step, static_cast<std::uint32_t>(k)};
        return std::log(draw_rate(range, random));
    };
    const double rate = std::exp(at.between(drawn(at.knot), drawn(at.knot + 1)));
    const survey::PixelPosition dense = origin({0, 0, config_.stripe.fields_per_camcol / 2});
    const bool in_dense = x_px >= dense.x_px && x_px < dense.x_px + static_cast<double>(config_.width_px) && y_px >= dense.y_px &&
                          y_px < dense.y_px + static_cast<double>(config_.height_px);
    return in_dense ? rate * config_.stripe.dense_factor : rate;
}

Conditions Stripe::conditions(const Place& place, survey::Psf::SdssParameters& psf) const {
    const ConditionsConfig& range = config_.simulator.conditions;
    const std::int64_t column = place.strip * config_.stripe.camcols + place.camcol;
    const BetweenKnots at{static_cast<double>(place.along)};
    RandomStream first = knot(column, at.knot), second = knot(column, at.knot + 1);
    const auto low = draw_psf(range, first), high = draw_psf(range, second);
    for (const auto part :
         {&survey::Psf::SdssParameters::sigma1_px, &survey::Psf::SdssParameters::sigma2_px, &survey::Psf::SdssParameters::b,
          &survey::Psf::SdssParameters::sigma_p_px, &survey::Psf::SdssParameters::beta, &survey::Psf::SdssParameters::p0}) {
        psf.*part = at.between(low.*part, high.*part);
    }
    const double low_sky = first.log_uniform(range.background_e_low, range.background_e_high);
    const double high_sky = second.log_uniform(range.background_e_low, range.background_e_high);
    RandomStream of_column{seed(), StreamPurpose::conditions, k_stripe_step, std::numeric_limits<std::uint32_t>::max(),
                           static_cast<std::uint32_t>(column)};
    const double saturation = of_column.log_uniform(range.saturation_e_low, range.saturation_e_high);
    const survey::PixelPosition corner = origin(place);
    const double here =
        rate(corner.x_px + 0.5 * static_cast<double>(config_.width_px), corner.y_px + 0.5 * static_cast<double>(config_.height_px));
    return {here, at.between(low_sky, high_sky), saturation, survey::Psf::from_sdss(psf), draw_scattered_light(range, of_column)};
}

/// What shines into a field, in its pixels and electrons, brightest first.
SkyScene::Contents Stripe::sources(const Place& place, const survey::Wcs& wcs, double flux_scale) const {
    const survey::PixelPosition corner = origin(place);
    const auto width = static_cast<double>(config_.width_px), height = static_cast<double>(config_.height_px);
    const SkyScene::Contents all =
        scene_.within({corner.x_px - k_farthest_px, corner.y_px - k_farthest_px, width + 2 * k_farthest_px, height + 2 * k_farthest_px});
    std::vector<std::size_t> order(all.ids.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return all.sources[a].flux_e > all.sources[b].flux_e; });
    SkyScene::Contents out;
    for (const std::size_t k : order) {
        Source source = all.sources[k];
        const survey::PixelPosition at = wcs.pixel(sky({source.x_px, source.y_px}));
        source.x_px = at.x_px;
        source.y_px = at.y_px;
        source.flux_e *= flux_scale;
        const double off = std::max({-0.5 - at.x_px, at.x_px - (width - 0.5), -0.5 - at.y_px, at.y_px - (height - 0.5)});
        if (!shines_into(source, off)) continue;
        out.sources.push_back(std::move(source));
        out.ids.push_back(all.ids[k]);
    }
    return out;
}

void Stripe::write_field(std::int64_t k, const fs::path& folder) const {
    const Place place = place_of(k);
    const std::int64_t height = config_.height_px, width = config_.width_px;
    RandomStream random{seed(), StreamPurpose::conditions, k_stripe_step, static_cast<std::uint32_t>(k)};
    const double calibration = config_.electrons_per_nmgy * (1 + k_calibration_scatter * random.uniform(-1, 1));

    const survey::PixelPosition corner = origin(place), centre{0.5 * static_cast<double>(width - 1), 0.5 * static_cast<double>(height - 1)};
    survey::SdssExposure exposure{.id = id(k),
                                  .band = config_.band,
                                  .electrons = Image<float>{height, width},
                                  .valid = Image<std::uint8_t>{height, width},
                                  .sky = {0, k_sky_slope * random.uniform(-1, 1), k_sky_slope * random.uniform(-1, 1)},
                                  .detector = k_detector,
                                  .nmgy_per_count = std::vector<float>(static_cast<std::size_t>(width),
                                                                       static_cast<float>(k_detector.gain_e_per_count / calibration)),
                                  .psf = {},
                                  .wcs = survey::Wcs::drift_scan(sky({corner.x_px + centre.x_px, corner.y_px + centre.y_px}), centre,
                                                                 config_.simulator.prior.arcsec_per_px)};
    ImageTruth truth{conditions(place, exposure.psf), {}};
    exposure.sky.centre_e = truth.conditions.background_e;
    SkyScene::Contents seen = sources(place, exposure.wcs, calibration / config_.electrons_per_nmgy);
    truth.sources = std::move(seen.sources);
    for (std::int64_t row = 0; row < height; ++row) {
        for (std::int64_t col = 0; col < width; ++col)
            exposure.electrons(row, col) = static_cast<float>(exposure.sky.at(row, col, height, width));
    }
    observe(config_.simulator, std::span{&truth, 1}, {seed(), k_stripe_step, static_cast<std::uint32_t>(k)},
            {{exposure.electrons.data(), 1, height, width}, exposure.valid.data()});

    const Fault broken = fault(k);
    if (broken == Fault::blank_frame) std::ranges::fill(exposure.electrons.pixels(), std::numeric_limits<float>::quiet_NaN());
    const FieldId& id = exposure.id;
    const fs::path of_column = folder / std::to_string(id.run) / std::to_string(id.camcol);
    const fs::path frame = of_column / fmt::format("frame-{}-{:06}-{}-{:04}.fits", config_.band, id.run, id.camcol, id.field);
    if (broken != Fault::no_frame) survey::write_sdss_frame(frame, exposure);
    if (broken == Fault::half_a_frame) fs::resize_file(frame, fs::file_size(frame) / 2);
    if (broken != Fault::no_psf)
        survey::write_sdss_psf(of_column / fmt::format("psField-{:06}-{}-{:04}.fit", id.run, id.camcol, id.field), exposure);
    survey::write_sdss_mask(of_column / fmt::format("fpM-{:06}-{}{}-{:04}.fit", id.run, config_.band, id.camcol, id.field), exposure);
    if (place.along == 0) {
        survey::write_sdss_detector(folder / std::to_string(id.run) / fmt::format("photoField-{:06}-{}.fits", id.run, id.camcol), id,
                                    config_.stripe.fields_per_camcol, exposure.detector);
    }
    write_truth(folder / "truth" / fmt::format("truth-{:06}-{}-{:04}.fits", id.run, id.camcol, id.field), config_, truth, calibration,
                &exposure.wcs, seen.ids);
}

/// Every field by name: a broken one that has no frame would not be found by looking for files.
std::string field_list(const Stripe& stripe) {
    std::string text;
    for (std::int64_t k = 0; k < stripe.fields(); ++k) {
        const Fault fault = stripe.fault(k);
        text += to_string(stripe.id(k)) + (fault == Fault::none ? "" : fmt::format("  # broken on purpose: {}", text_of(fault))) + '\n';
    }
    return text;
}

void check_stripe(const FramesConfig& config) {
    check_simulator(config.simulator);
    const ConditionsConfig& conditions = config.simulator.conditions;
    for (const auto& [key, value] : {std::pair{"psf_ellipticity_high", conditions.psf_ellipticity_high},
                                     {"clump_share_high", conditions.clump_share_high}}) {
        // SDSS's files of a stripe have round PSFs, and a galaxy has to look the same in each of its fields.
        if (value != 0) throw ConfigError(fmt::format("simulator.conditions.{} is {}: not for a stripe; set it to 0", key, value));
    }
    const auto narrow = [](std::string_view key, std::int64_t overlap, std::int64_t side) {
        if (2 * overlap > side) throw ConfigError(fmt::format("stripe.{} is {}: at most half a field's {} pixels", key, overlap, side));
    };
    narrow("overlap_rows_px", config.stripe.overlap_rows_px, config.height_px);
    narrow("overlap_cols_px", config.stripe.overlap_cols_px, config.width_px);
    if (config.stripe.broken_fields > frame_count(config)) {
        throw ConfigError(
            fmt::format("stripe.broken_fields is {}, but there are {} fields", config.stripe.broken_fields, frame_count(config)));
    }
}

}  // namespace

void write_stripe(const FramesConfig& config, const GalaxyDecoder* decoder, const fs::path& folder, const comm::Communicator& comm) {
    comm::agree_on(comm, [&] { check_stripe(config); });
    const Stripe stripe{config, decoder};
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0) return;
        create_output_folder(folder / "truth");
        write_file(folder / "simulate.toml", to_toml(config));
        write_file(folder / "fields.txt", field_list(stripe));
        write_file(
            folder / "catalog.toml",
            fmt::format("# bliss-mpi catalog THIS --set model=$PWD/MODEL   (relative paths start from this folder)\nsources_per_tile "
                        "= {}\n\n[survey]\nkind = \"sdss\"\nfolder = \".\"\nlist = \"fields.txt\"\nband = \"{}\"\n",
                        catalogued_rate(config), config.band));
    });
    comm::agree_on(comm, [&] {
        for (std::int64_t k = comm.rank(); k < stripe.fields(); k += comm.size()) {
            stripe.write_field(k, folder);
            spdlog::info("field {} written ({}/{})", to_string(stripe.id(k)), k + 1, stripe.fields());
        }
    });
}

}  // namespace bliss::simulator
