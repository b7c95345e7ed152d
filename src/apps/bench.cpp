// bliss-bench: the speeds docs/benchmarks.md quotes, each the median of several runs after one to warm up.
#include "bliss/catalog/sky_index.hpp"
#include "bliss/comm/environment.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/inference/field.hpp"
#include "bliss/inference/field_record.hpp"
#include "bliss/inference/fields.hpp"
#include "bliss/inference/gather.hpp"
#include "bliss/simulator/simulation.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/training/gpu_images.hpp"
#include "bliss/training/trainer.hpp"
#include "command.hpp"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <vector>

namespace {

using namespace bliss;

/// Seconds of each of `runs` calls, sorted, after one call that is not counted.
std::vector<double> time_runs(int runs, const std::function<void()>& work) {
    work();
    std::vector<double> seconds;
    for (int i = 0; i < runs; ++i) {
        const auto start = std::chrono::steady_clock::now();
        work();
        seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds;
}

void print_rate(std::string_view what, const std::vector<double>& seconds, double tiles) {
    fmt::print("{:<46} {:>12.0f} tiles/s  ({:.1f} ms, best {:.1f}, worst {:.1f})\n", what, tiles / seconds[seconds.size() / 2],
               1e3 * seconds[seconds.size() / 2], 1e3 * seconds.front(), 1e3 * seconds.back());
}

/// The training's images, of one density where `rate` is not 0.
simulator::SimulatorConfig with_rate(simulator::SimulatorConfig config, double rate) {
    if (rate > 0) config.conditions.sources_per_tile_low = config.conditions.sources_per_tile_high = rate;
    return config;
}

std::string density_of(double rate) { return rate > 0 ? fmt::format("{} sources a tile", rate) : "training's densities"; }

double tiles_of_step(const training::TrainingConfig& config) {
    return static_cast<double>(config.images_per_step * config.tiles_per_side * config.tiles_per_side);
}

/// Images like those of training, on the cores. @param decoder of learnt galaxies, or null
void bench_simulator(const training::TrainingConfig& config, const simulator::GalaxyDecoder* decoder, double rate, int runs) {
    const simulator::SimulatorConfig simulator = with_rate(config.simulator, rate);
    const std::int64_t images = config.images_per_step, side = training::image_side_px(config);
    std::vector<float> electrons(static_cast<std::size_t>(images * side * side));
    std::vector<std::uint8_t> valid(electrons.size());
    std::uint32_t step = 0;
    const auto make = [&] {
        simulator::simulate(simulator, decoder, {1, step++, 0}, {{electrons.data(), images, side, side}, valid.data()});
    };
    print_rate("simulator, " + density_of(rate), time_runs(runs, make), tiles_of_step(config));
}

/// The same, drawn on the cores, with pixels made on the GPU that Kokkos runs on, in its memory.
void bench_simulator_on_gpu(const training::TrainingConfig& config, const simulator::GalaxyDecoder* decoder, double rate, int runs) {
    const simulator::SimulatorConfig simulator = with_rate(config.simulator, rate);
    const std::int64_t side = training::image_side_px(config);
    std::uint32_t step = 0;
    std::vector<simulator::ImagePlan> plans;
    const auto draw = [&] { plans = simulator::plan_images(simulator, decoder, {1, ++step, 0}, config.images_per_step, side, side); };
    const auto make = [&] {
        (void)training::make_on_gpu(plans, {1, step, 0}, side, {torch::kCUDA, static_cast<c10::DeviceIndex>(simulator::gpu())});
        torch::cuda::synchronize();
    };
    const auto both = [&] {
        draw();
        make();
    };
    print_rate("simulator, GPU, " + density_of(rate), time_runs(runs, both), tiles_of_step(config));
    print_rate("  of it the pixels", time_runs(runs, make), tiles_of_step(config));
}

void bench_training(training::TrainingConfig config, const std::optional<encoder::Galaxies>& galaxies, int runs) {
    for (const auto precision : {encoder::Precision::float32, encoder::Precision::automatic}) {
        config.precision = precision;
        training::Trainer trainer{config, comm::Communicator::self(), galaxies};
        training::StepTimes times;
        print_rate(fmt::format("training step, simulator included, {}", precision == encoder::Precision::float32 ? "float32" : "auto"),
                   time_runs(runs, [&] { times.add(trainer.step().times); }),
                   tiles_of_step(config));
        const double ms = 1e3 / (runs + 1);
        fmt::print("  ms a step, summed over threads: images {:.1f}, detection {:.1f}, sources {:.1f}; optimiser {:.1f}\n",
                   ms * times.simulate_s, ms * times.detect_s, ms * times.sources_s, ms * times.optimise_s);
    }
}

void bench_frame(const inference::CatalogConfig& config, const std::filesystem::path& folder, int runs) {
    const auto field = inference::list_fields(config.survey, folder)[0];
    const survey::Frame frame = inference::read_field(config.survey, field);
    for (const auto precision : {encoder::Precision::float32, encoder::Precision::automatic}) {
        const c10::Device device = encoder::choose_device(config.device, comm::Communicator::self());
        const auto chosen = encoder::choose_precision(precision, comm::Communicator::self(), device);
        inference::Cataloguer cataloguer{encoder::load_model(inference::resolve(folder, config.model)), config, chosen, device};
        const auto seconds = time_runs(runs, [&] { (void)cataloguer.catalogue(frame); });
        const auto t = cataloguer.catalogue(frame).timing;
        fmt::print(
            "{:<46} {:>12.3f} s  (best {:.3f}, worst {:.3f}; last: features {:.3f}, detect {:.3f}, candidates {:.3f}, classify {:.3f})\n",
            fmt::format("encode + mode catalogue of {}, {}, {}", to_string(field.id),
                        chosen == encoder::Precision::bfloat16 ? "bfloat16" : "float32", device.str()),
            seconds[seconds.size() / 2], seconds.front(), seconds.back(), t.prepare_s, t.detect_s, t.candidates_s, t.classify_s);
    }
}

/// Rows of a catalogue written to a plain file, waited for until they are on the disk. @return seconds
double write_plainly(const std::filesystem::path& path, std::int64_t fields, const std::vector<std::span<const std::byte>>& of_field) {
    const auto start = std::chrono::steady_clock::now();
    AtomicFile file{path};
    for (std::int64_t k = 0; k < fields; ++k) {
        for (const auto bytes : of_field) file.write(bytes.data(), bytes.size());
    }
    file.commit();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Puts a field on the sky as SDSS's k-th of a run, with its sources anywhere on it.
void place(inference::Cataloguer::Result& result, std::int32_t k, RandomStream random) {
    constexpr double k_px_deg = 0.396 / 3600, k_height_px = 1489, k_width_px = 2048, k_apart_px = 1361;
    const double first_ra_deg = k * k_apart_px * k_px_deg;
    catalog::FieldRow& field = result.field;
    field.width_px = static_cast<std::int64_t>(k_width_px);
    for (int corner = 0; corner < 4; ++corner) {
        field.corner_ra_deg[corner] = first_ra_deg + (corner == 1 || corner == 2 ? k_height_px * k_px_deg : 0);
        field.corner_dec_deg[corner] = corner >= 2 ? k_width_px * k_px_deg : 0;
    }
    for (catalog::SourceRow& source : result.sources) {
        source.ra_deg = first_ra_deg + random.uniform(0, k_height_px) * k_px_deg;
        source.dec_deg = random.uniform(0, k_width_px) * k_px_deg;
    }
    catalog::sort_by_sky(result.sources);
}

/// The gather of a catalogue with 32 joint draws from journals on the disk, against writing the same bytes to a plain file.
void bench_gather(const std::filesystem::path& folder, std::int64_t field_count, int runs) {
    constexpr std::size_t k_sources = 2700, k_samples = 32 * 1300;  // of SDSS 94-1-12
    const shard::JournalFolder journals{folder / "journal", {"bench", "bench", inference::record_layout()}};
    journals.remove();
    inference::Cataloguer::Result result;
    result.sources.resize(k_sources);
    result.samples.resize(k_samples);
    std::vector<FieldId> ids;
    const auto journal = journals.open(1, 0);
    const auto journal_start = std::chrono::steady_clock::now();
    for (std::int32_t k = 0; k < field_count; ++k) {
        ids.push_back({0, 0, k});
        result.field.field = k;
        place(result, k, {1, StreamPurpose::catalog, 0, static_cast<std::uint32_t>(k)});
        inference::append(*journal, result);
    }
    const double journal_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - journal_start).count();
    const std::vector<std::span<const std::byte>> of_field{
        std::as_bytes(std::span{&result.field, 1}), std::as_bytes(std::span{result.sources}), std::as_bytes(std::span{result.samples})};
    double bytes = 0;
    for (const auto part : of_field) bytes += static_cast<double>(part.size()) * static_cast<double>(field_count);
    std::vector<double> plain, ratio;
    for (int run = 0; run < runs; ++run) {
        plain.push_back(write_plainly(folder / "plain", field_count, of_field));
        const auto start = std::chrono::steady_clock::now();
        (void)inference::gather(folder / "catalog.h5", journals, journals.scan(), {ids, {}}, {}, comm::Communicator::self());
        ratio.push_back(plain.back() / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::ranges::sort(plain);
    std::ranges::sort(ratio);
    const auto middle = static_cast<std::size_t>(runs / 2);
    fmt::print("{:<46} {:>12.0f} MB/s of {:.0f} MB; the catalogue at {:.0f} % of that (worst {:.0f} %), the journal at {:.0f} MB/s\n",
               "plain file, synced", 1e-6 * bytes / plain[middle], 1e-6 * bytes, 100 * ratio[middle], 100 * ratio.front(),
               1e-6 * bytes / journal_s);
    journals.remove();
    for (const char* name : {"plain", "catalog.h5"}) std::filesystem::remove(folder / name);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"bliss-bench: how fast simulator, training and cataloguing are on this machine"};
    apps::Common common;
    common.quiet = true;
    std::string train = "configs/train/sdss-r.toml", catalog = "configs/catalog/sdss-94-1-12.toml";
    int runs = 7;
    std::vector<std::string> what{"simulator", "training", "frame"};
    std::string folder_of_gather = "out/bench";
    app.add_option("--train", train, "training configuration")->capture_default_str();
    app.add_option("--catalog", catalog, "catalogue configuration")->capture_default_str();
    app.add_option("--set", common.assignments, "KEY=VALUE of the training configuration");
    app.add_option("--runs", runs, "runs of each after one to warm up")->check(CLI::PositiveNumber)->capture_default_str();
    app.add_option("--what", what, "what is timed: simulator, training, frame, gather")
        ->check(CLI::IsMember({"simulator", "training", "frame", "gather"}))
        ->capture_default_str();
    app.add_option("--folder", folder_of_gather, "gather: where 1 GB is written three times over")->capture_default_str();
    app.add_option("--threads", common.threads, "threads (default: all cores)");
    CLI11_PARSE(app, argc, argv);
    try {
        const comm::Environment environment;
        const comm::Communicator self = comm::Communicator::self();
        start_log(0, 1, Verbosity::quiet);
        const auto compute = apps::start_compute(common, self);
        const auto config = apps::read_config<training::TrainingConfig>(train, common, self);
        common.assignments.clear();
        const auto catalogue = apps::read_config<inference::CatalogConfig>(catalog, common, self);
        const auto folder = std::filesystem::absolute(catalog).parent_path();
        // Learnt galaxies are those of the catalogue's model.
        std::optional<encoder::Galaxies> galaxies;
        if (config.simulator.prior.galaxies == simulator::GalaxyModel::learnt) {
            galaxies = encoder::load_galaxies(inference::resolve(folder, catalogue.model));
        }
        const auto asked = [&](std::string_view name) { return std::ranges::find(what, name) != what.end(); };
        if (asked("simulator")) {
            std::optional<simulator::GalaxyDecoder> decoder;
            if (galaxies) decoder = galaxies->decoder->exported();
            for (const double rate : {0.004, 0.0}) bench_simulator(config, decoder ? &*decoder : nullptr, rate, runs);
            for (const double rate : {0.004, 0.0}) {
                if (simulator::gpu() >= 0) bench_simulator_on_gpu(config, decoder ? &*decoder : nullptr, rate, runs);
            }
        }
        if (asked("training")) bench_training(config, galaxies, runs);
        if (asked("frame")) bench_frame(catalogue, folder, runs);
        if (asked("gather")) {
            create_output_folder(folder_of_gather);
            bench_gather(folder_of_gather, 200, runs);
        }
    } catch (const std::exception& error) {
        fmt::print(stderr, "bliss-bench: error: {}\n", error.what());
        return apps::k_exit_fatal;
    }
    return apps::k_exit_done;
}
