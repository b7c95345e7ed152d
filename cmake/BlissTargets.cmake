# Settings every target shares, and the functions that declare modules and tests.
add_library(bliss_settings INTERFACE)
target_compile_features(bliss_settings INTERFACE cxx_std_20)
target_compile_options(bliss_settings INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast
  $<$<BOOL:${BLISS_WERROR}>:-Werror>
  $<$<BOOL:${BLISS_NATIVE}>:-march=native>
  $<$<BOOL:${BLISS_SANITIZE}>:-fsanitize=address,undefined -fno-omit-frame-pointer>)
target_link_options(bliss_settings INTERFACE $<$<BOOL:${BLISS_SANITIZE}>:-fsanitize=address,undefined>)
target_compile_definitions(bliss_settings INTERFACE $<$<BOOL:${BLISS_CONTRACTS}>:BLISS_CONTRACTS>)
configure_file("${CMAKE_CURRENT_LIST_DIR}/version.hpp.in" "${PROJECT_BINARY_DIR}/generated/bliss/core/version.hpp" @ONLY)
target_include_directories(bliss_settings INTERFACE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_BINARY_DIR}/generated")

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")

# bliss_module(NAME SOURCES a.cpp ... PUBLIC bliss::core ... PRIVATE PkgConfig::CFITSIO ...)
function(bliss_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  list(TRANSFORM arg_SOURCES PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/${name}/")
  add_library(bliss_${name} STATIC ${arg_SOURCES})
  add_library(bliss::${name} ALIAS bliss_${name})
  target_link_libraries(bliss_${name} PUBLIC bliss_settings ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
endfunction()

# bliss_test(MODULE NAME [RANKS 1 2 4] [TIMEOUT seconds] [LABELS ...] [MAIN library] LIBRARIES bliss::x ...)
# Builds tests/<MODULE>/test_<NAME>.cpp. Without RANKS it runs alone; with RANKS once under mpirun for each count.
function(bliss_test module name)
  cmake_parse_arguments(arg "" "TIMEOUT;MAIN" "RANKS;LABELS;LIBRARIES" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(target test_${module}_${name})
  add_executable(${target} "${PROJECT_SOURCE_DIR}/tests/${module}/test_${name}.cpp")
  target_compile_definitions(${target} PRIVATE
    BLISS_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
    BLISS_SOURCE_ROOT="${PROJECT_SOURCE_DIR}")
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  if(arg_RANKS)
    target_link_libraries(${target} PRIVATE ${arg_LIBRARIES} bliss_test_mpi_main)
    foreach(ranks IN LISTS arg_RANKS)
      set(test "${module}.${name}.ranks${ranks}")
      add_test(NAME ${test} COMMAND ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe -n ${ranks} $<TARGET_FILE:${target}>)
      set_tests_properties(${test} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "mpi;${arg_LABELS}" PROCESSORS ${ranks}
        ENVIRONMENT "OMP_NUM_THREADS=1;OMP_PROC_BIND=false")
    endforeach()
  else()
    if(NOT arg_MAIN)
      set(arg_MAIN Catch2::Catch2WithMain)
    endif()
    target_link_libraries(${target} PRIVATE ${arg_LIBRARIES} ${arg_MAIN})
    add_test(NAME "${module}.${name}" COMMAND ${target})
    set_tests_properties("${module}.${name}" PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "unit;${arg_LABELS}"
      ENVIRONMENT "OMP_PROC_BIND=false")
  endif()
endfunction()
