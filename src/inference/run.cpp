#include "bliss/inference/run.hpp"

#include "bliss/catalog/writer.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/core/version.hpp"
#include "bliss/inference/field.hpp"
#include "bliss/inference/fields.hpp"
#include "bliss/inference/render.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <new>
#include <optional>

namespace bliss::inference {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double peak_memory_gb() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / (1024 * 1024);
}

/// A field that could not be used, with its reason.
Cataloguer::Result failed_field(const FieldSource& source, const std::string& reason) {
    Cataloguer::Result result;
    result.field.run = source.id.run;
    result.field.camcol = source.id.camcol;
    result.field.field = source.id.field;
    result.field.status = 1;
    catalog::set_text(result.field.band, source.band);
    catalog::set_text(result.field.reason, reason);
    return result;
}

/// This rank's fields, done one after the other.
class RankWork {
public:
    /// @param reconstructions folder of images, where these are asked for
    RankWork(const CatalogConfig& config, Cataloguer& cataloguer, fs::path reconstructions)
        : config_{config}, cataloguer_{cataloguer}, reconstructions_{std::move(reconstructions)} {}

    void process(std::int64_t index, const FieldSource& source) {
        const auto start = Clock::now();
        Cataloguer::Result result;
        double read_s = 0;
        try {
            const survey::Frame frame = read_field(config_.survey, source);
            read_s = seconds_since(start);
            result = cataloguer_.catalogue(frame);
            if (config_.reconstruct) write_render(reconstructions_ / to_string(source.id), frame, result.expected);
            result.expected = {};
        } catch (const MpiError&) {
            throw;
        } catch (const Error& error) {
            result = fail(source, error.what());
        } catch (const std::bad_alloc&) {
            result = fail(source, "out of memory");
        } catch (const std::filesystem::filesystem_error& error) {
            result = fail(source, error.what());
        } catch (const std::exception& error) {  // LibTorch's: its first line says what, the rest is a stack
            const std::string_view text = error.what();
            result = fail(source, fmt::format("{}: {}", source.path.string(), text.substr(0, text.find('\n'))));
        }
        const auto& t = result.timing;
        report_.push_back({{"index", index},
                           {"field", to_string(source.id)},
                           {"status", result.field.status},
                           {"reason", catalog::text_of(result.field.reason)},
                           {"candidates", result.sources.size()},
                           {"read_s", read_s},
                           {"prepare_s", t.prepare_s},
                           {"detect_s", t.detect_s},
                           {"candidates_s", t.candidates_s},
                           {"likelihood_s", t.likelihood_s},
                           {"classify_s", t.classify_s},
                           {"samples_s", t.samples_s},
                           {"reconstruct_s", t.reconstruct_s},
                           {"total_s", seconds_since(start)}});
        for (const auto& row : result.sources) in_mode_ += (row.flags & catalog::k_flag_mode) != 0 ? 1 : 0;
        fields_.push_back({index, std::ssize(result.sources), std::ssize(result.samples), result.field});
        sources_.push_back(std::move(result.sources));
        samples_.push_back(std::move(result.samples));
    }

    Cataloguer::Result fail(const FieldSource& source, const std::string& reason) {
        spdlog::error("field {} failed: {}", to_string(source.id), reason);
        ++failed_;
        return failed_field(source, reason);
    }

    [[nodiscard]] const std::vector<catalog::LocalField>& fields() const { return fields_; }
    [[nodiscard]] catalog::RowLoaders loaders() const {
        return {[this](std::size_t i) { return sources_[i]; }, [this](std::size_t i) { return samples_[i]; }};
    }
    [[nodiscard]] const nlohmann::json& report() const { return report_; }
    [[nodiscard]] std::int64_t failed() const { return failed_; }
    [[nodiscard]] std::int64_t in_mode() const { return in_mode_; }

private:
    const CatalogConfig& config_;
    Cataloguer& cataloguer_;
    fs::path reconstructions_;
    std::vector<catalog::LocalField> fields_;
    std::vector<std::vector<catalog::SourceRow>> sources_;
    std::vector<std::vector<catalog::SampleRow>> samples_;
    nlohmann::json report_ = nlohmann::json::array();
    std::int64_t failed_ = 0;
    std::int64_t in_mode_ = 0;
};

/// run-report.json: what may differ from run to run and so has no place in the catalogue.
void write_report(const fs::path& path, const comm::Communicator& comm, const RankWork& work, double seconds, std::string_view device,
                  std::string_view precision) {
    // A path in a reason need not be UTF-8.
    constexpr auto k_replace = nlohmann::json::error_handler_t::replace;
    const std::string mine = nlohmann::json{{"rank", comm.rank()}, {"peak_memory_gb", peak_memory_gb()}, {"fields", work.report()}}.dump(
        -1, ' ', false, k_replace);
    const std::vector<char> all = comm.gather_v(std::vector<char>(mine.begin(), mine.end()), 0);
    const std::vector<std::int64_t> sizes = comm.all_gather(static_cast<std::int64_t>(mine.size()));
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0) return;
        nlohmann::json report{{"program_version", k_program_version},
                              {"ranks", comm.size()},
                              {"seconds", seconds},
                              {"device", device},
                              {"precision", precision}};
        std::size_t at = 0;
        for (const std::int64_t size : sizes) {
            const auto length = static_cast<std::size_t>(size);
            report["per_rank"].push_back(nlohmann::json::parse(std::string(all.data() + at, length)));
            at += length;
        }
        write_file(path, report.dump(2) + '\n');
    });
}

/// The output folder exists and takes files. A run must not find out at its end that it cannot write.
void prepare_folder(const fs::path& folder) {
    create_output_folder(folder);
    const fs::path probe = folder / ".writable";
    if (!std::ofstream{probe}) {
        throw IoError(fmt::format("{}: the output folder cannot be written to; name another with --output", folder.string()));
    }
    std::error_code status;
    fs::remove(probe, status);
}

struct LoadedModel {
    encoder::Model model;
    std::string sha256;
};

/// The model with the SHA256 of the very bytes it was read from. A training replaces its model file from time to time.
LoadedModel load(const fs::path& path) {
    const std::string before = sha256_of_file(path);
    LoadedModel loaded{encoder::load_model(path), sha256_of_file(path)};
    if (loaded.sha256 != before) throw DataError(fmt::format("{}: was replaced while it was read; run again", path.string()));
    return loaded;
}

/// The model, the same on all ranks and of the survey's band. @collective
LoadedModel load_on_all_ranks(const fs::path& path, const SurveyConfig& survey, const comm::Communicator& comm) {
    std::optional<LoadedModel> loaded;
    comm::agree_on(comm, [&] { loaded.emplace(load(path)); });
    std::vector<char> of_root(loaded->sha256.begin(), loaded->sha256.end());
    comm.broadcast(of_root);
    comm::agree_on(comm, [&] {
        if (!std::equal(of_root.begin(), of_root.end(), loaded->sha256.begin(), loaded->sha256.end())) {
            throw DataError(fmt::format("{}: ranks read different files under this name; was it replaced meanwhile?", path.string()));
        }
        const std::string& band = loaded->model.config.bands.front();
        if (survey.kind == SurveyKind::sdss && survey.band != band) {
            throw ConfigError(fmt::format("survey.band is '{}', but {} reads band '{}'; name another model or band", survey.band,
                                          path.string(), band));
        }
    });
    return std::move(*loaded);
}

}  // namespace

RunSummary run(const CatalogConfig& config, const RunOptions& options, const comm::Communicator& comm) {
    const auto start = Clock::now();
    const bool root = comm.rank() == 0;
    std::vector<FieldSource> fields;
    comm::agree_on(comm, [&] {
        check_catalog(config);
        fields = list_fields(config.survey, options.config_folder);
    });
    const fs::path model_path = resolve(options.config_folder, config.model);
    const c10::Device device = encoder::choose_device(config.device, comm);
    const std::string_view device_name = device.is_cuda() ? "cuda" : "cpu";
    const encoder::Precision precision = encoder::choose_precision(config.precision, comm, device);
    const std::string_view precision_name = precision == encoder::Precision::bfloat16 ? "bfloat16" : "float32";
    LoadedModel loaded = load_on_all_ranks(model_path, config.survey, comm);
    std::optional<Cataloguer> made;
    comm::agree_on(comm, [&] {
        made.emplace(std::move(loaded.model), config, precision, device);
        if (root && !options.dry_run) prepare_folder(options.output);
    });
    Cataloguer& cataloguer = *made;
    spdlog::info("{} field(s) on {} rank(s), model {} in {} on {}", fields.size(), comm.size(), model_path.filename().string(),
                 precision_name, device.is_cuda() ? "GPUs" : "cores");
    const encoder::ModelCard& card = cataloguer.model().card;
    RunSummary summary;
    summary.fields = static_cast<std::int64_t>(fields.size());
    if (options.dry_run) {
        for (const FieldSource& field : fields) spdlog::info("would catalogue {} from {}", to_string(field.id), field.path.string());
        return summary;
    }

    RankWork work{config, cataloguer, options.output / "reconstruction"};
    for (std::int64_t i = comm.rank(); i < summary.fields; i += comm.size()) {
        work.process(i, fields[static_cast<std::size_t>(i)]);
        const nlohmann::json& last = work.report().back();
        spdlog::info("field {} ({}/{} of this rank): {} candidates, read {:.2f} s, detect {:.2f} s, all {:.2f} s",
                     last["field"].get<std::string>(), work.fields().size(), (summary.fields - comm.rank() + comm.size() - 1) / comm.size(),
                     last["candidates"].get<std::int64_t>(), last["read_s"].get<double>(), last["detect_s"].get<double>(),
                     last["total_s"].get<double>());
    }

    // What "auto" and "as trained" came to is part of how the numbers were made.
    CatalogConfig used = config;
    used.precision = precision;
    used.device = device.is_cuda() ? encoder::DeviceChoice::cuda : encoder::DeviceChoice::cpu;
    if (used.sources_per_tile == 0 && !cataloguer.by_likelihood()) used.sources_per_tile = card.sources_per_tile;
    const std::string resolved = to_toml(used, false);
    const catalog::Provenance provenance{resolved, sha256_of_text(resolved), loaded.sha256, k_program_version};
    catalog::write_catalog(options.output / "catalog.h5", comm, work.fields(), work.loaders(), provenance);
    write_report(options.output / "run-report.json", comm, work, seconds_since(start), device_name, precision_name);

    std::vector<std::int64_t> totals{work.failed(), 0, work.in_mode()};
    for (const auto& field : work.fields()) totals[1] += field.source_count;
    comm.all_reduce_sum(std::span<std::int64_t>{totals});
    summary.failed = totals[0];
    summary.candidates = totals[1];
    summary.sources = totals[2];
    return summary;
}

}  // namespace bliss::inference
